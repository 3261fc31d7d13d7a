"""A study's queue on paper: workers, a database, a tracking server, a sampler, simulated by SimPy.

A worker looks, asks, trains, hands over its record and tells, again and again. The database and
the tracking server serve a bounded number of requests at a time; what a worker computes itself
(looking at the plan, the sampler's proposal) keeps only itself waiting, unless all share the cores
of one machine (`Site.cores`), as where the model is held against measurement. Training does not
wait for the record: points are delivered while it runs, by a thread, and only its end waits for the
rest.

    efficiency(W) = time spent in training that counted / time that the W workers had a job

The end of every study, when fewer jobs are left than workers, is no matter of the queue and is
left out; `makespan` has it.

Times of training are log-normal; a share of runs is pruned on the way, a share of workers dies
and its job starts anew when its heartbeat has been missed. Costs come from `benchmarks.cluster`.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import simpy

Process = Generator[Any, Any, None]
GOOD = 0.9  # efficiency below which something is a bottleneck


@dataclass(frozen=True)
class Costs:
    """Seconds of one call: of the worker's own time, and of the server's that others wait for."""

    look: float  # own: the plan, from all trials
    look_trial: float  # own, for each trial there is
    ask: float  # database: take a job, write down who has it
    tell: float  # database: outcome, scores, value
    sample: float  # own: a proposal of the sampler
    sample_trial: float  # own, for each trial that it learns from
    log: float  # tracking server: one batch of points
    ends: float  # tracking server: all else of a run: its beginning, tags, artifacts, model
    own: float = 0.0  # own: the rest of a run's end (figures, the model's file)
    log_own: float = 0.0  # own, in a thread beside training: one batch of points
    start: float = 0.0  # own: once a worker, its beginning, its first run's and its end
    beat: float = 0.001  # database: one heartbeat


@dataclass(frozen=True)
class Load:
    """What a study asks for."""

    seconds: float = 300.0  # of training, typically
    spread: float = 0.3  # standard deviation of its logarithm
    batches: int = 10  # of points, over a run
    jobs: int = 2  # for each worker
    pruned: float = 0.0  # share of runs, which end on the way
    dies: float = 0.0  # share of runs whose worker dies on the way
    samples: bool = False  # a search: each job is a proposal


@dataclass(frozen=True)
class Site:
    """What serves the workers."""

    database: int = 4  # requests at a time: cores
    tracking: int = 4  # requests at a time: the server's processes
    heartbeat: float = 60.0
    grace: float = 180.0
    poll: float = 0.5  # how often a worker without a job looks again
    cores: int | None = None  # that workers and servers share; None: as many as they like


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    workers: int
    makespan: float
    efficiency: float
    busy: dict[str, float]  # share of its capacity that each server was at work
    waits: dict[str, float]  # share of the workers' time spent for each


class _World:
    def __init__(self, costs: Costs, load: Load, site: Site, workers: int, seed: int) -> None:
        self.costs, self.load, self.site, self.workers = costs, load, site, workers
        self.rng = random.Random(seed)
        self.env = simpy.Environment()
        self.servers = {
            "database": simpy.Resource(self.env, site.database),
            "tracking": simpy.Resource(self.env, site.tracking),
        }
        self.cores = None if site.cores is None else simpy.Resource(self.env, site.cores)
        self.served = dict.fromkeys(self.servers, 0.0)
        self.waited = dict.fromkeys((*self.servers, "sampler", "plan", "own", "lost"), 0.0)
        self.waiting = workers * load.jobs
        self.open = self.waiting  # jobs that have not ended
        self.ended, self.useful, self.idle = 0, 0.0, 0.0
        self.changed = self.env.event()  # a job waits again, or none is left

    def serve(self, server: str, seconds: float) -> Process:
        with self.servers[server].request() as turn:
            yield turn
            self.served[server] += seconds
            yield from self.compute(seconds)

    def compute(self, seconds: float) -> Process:
        """On one of the cores, where they are counted."""
        if self.cores is None:
            yield self.env.timeout(seconds)
            return
        with self.cores.request() as turn:
            yield turn
            yield self.env.timeout(seconds)

    def timed(self, what: str, server: str, seconds: float) -> Process:
        begun = self.env.now
        yield from self.serve(server, seconds)
        self.waited[what] += self.env.now - begun

    def own(self, what: str, seconds: float) -> Process:
        begun = self.env.now
        yield from self.compute(seconds)
        self.waited[what] += self.env.now - begun

    def worker(self) -> Process:
        costs, env = self.costs, self.env
        yield from self.own("own", costs.start)
        while self.open > 0:
            yield from self.own("plan", costs.look + costs.look_trial * self.ended)
            if self.waiting == 0:  # others are at it, and may die
                begun = env.now
                yield self.changed
                yield env.timeout(self.rng.uniform(0, self.site.poll))
                self.idle += env.now - begun
                continue
            self.waiting -= 1
            yield from self.timed("database", "database", costs.ask)
            if self.load.samples:
                yield from self.own("sampler", costs.sample + costs.sample_trial * self.ended)
            yield from self.run()

    def run(self) -> Process:
        costs, load, env = self.costs, self.load, self.env
        seconds = load.seconds * math.exp(self.rng.gauss(-(load.spread**2) / 2, load.spread))
        dies = self.rng.random() < load.dies
        share = self.rng.random() if dies or self.rng.random() < load.pruned else 1.0
        record = env.process(self.deliver(max(1, round(load.batches * share)), seconds * share))
        beats = int(seconds * share / self.site.heartbeat)
        self.served["database"] += beats * costs.beat
        yield env.timeout(seconds * share)
        if dies:
            self.waited["lost"] += seconds * share
            env.process(self.retry())
            return  # the worker's place is filled again at once
        self.useful += seconds * share
        begun = env.now
        yield record
        yield from self.serve("tracking", costs.ends)
        self.waited["tracking"] += env.now - begun
        yield from self.own("own", costs.own)
        yield from self.timed("database", "database", costs.tell)
        self.ended += 1
        self.open -= 1
        if self.open == 0:
            self.changed.succeed()

    def retry(self) -> Process:
        yield self.env.timeout(self.site.grace)
        self.waiting += 1
        self.changed.succeed()
        self.changed = self.env.event()

    def deliver(self, batches: int, seconds: float) -> Process:
        for _ in range(batches):
            due = self.env.now + seconds / batches
            yield from self.compute(self.costs.log_own)
            yield from self.serve("tracking", self.costs.log)
            yield self.env.timeout(max(0.0, due - self.env.now))


@functools.cache
def simulate(costs: Costs, load: Load, site: Site, workers: int, seed: int = 0) -> Outcome:
    """A study of `load.jobs` runs for each of so many workers."""
    world = _World(costs, load, site, workers, seed)
    everybody = [world.env.process(world.worker()) for _ in range(workers)]
    world.env.run(until=simpy.AllOf(world.env, everybody))
    span = world.env.now
    return Outcome(
        workers,
        span,
        world.useful / (workers * span - world.idle),
        {s: world.served[s] / (span * r.capacity) for s, r in world.servers.items()},
        {what: seconds / (workers * span) for what, seconds in world.waited.items()},
    )


REMEDIES = {
    "database": "the gRPC proxy (reads from its cache, one pool), then a database with more cores",
    "tracking": "more processes of the MLflow server, on more machines, behind one address; fewer "
    "points (train.log_every, evaluation.every)",
    "sampler": "sampler = 'quasi_random', or several arms with fewer trials each",
    "plan": "several studies instead of one: looking reads every trial",
    "own": "longer runs: the end of a run costs the same however long it was",
    "lost": "steadier machines, or a shared folder, so that checkpoints outlive their worker",
}


def first_bottleneck(
    costs: Costs, load: Load, site: Site, counts: Sequence[int]
) -> tuple[int, str] | None:
    """The first number of workers with an efficiency below `GOOD` of a single worker's, and what
    grew most of all that workers spend time for; None where there is none.
    """
    alone = simulate(costs, load, site, 1)
    for workers in counts:
        found = simulate(costs, load, site, workers)
        if found.efficiency < GOOD * alone.efficiency:
            return workers, max(found.waits, key=lambda w: found.waits[w] - alone.waits[w])
    return None


def without(costs: Costs, site: Site, bottleneck: str) -> tuple[Costs, Site]:
    """The same after its remedy: ten times the server, or a tenth of the sampler's or plan's."""
    if bottleneck in ("database", "tracking"):
        return costs, replace(site, **{bottleneck: 10 * getattr(site, bottleneck)})
    if bottleneck == "sampler":
        return replace(costs, sample=costs.sample / 10, sample_trial=0.0), site
    return replace(costs, look=costs.look / 10, look_trial=costs.look_trial / 10), site
