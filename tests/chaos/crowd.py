"""Many workers at once: every trial and every metric is there, once, and in its own study."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from core.config import Config
from core.tracking.mlflow_store import open_tracker
from core.tracking.protocol import RunLabels, RunRecord, Tracker
from studies.definition import load_study
from studies.plan import Plan
from studies.running import execute
from studies.running import queue as jobs
from tests.chaos import children
from tests.chaos.children import child
from tests.chaos.tally import Tally
from tests.chaos.world import Say, World, import_all, then_modules, troubles
from tests.cluster.servers import create_database, postgresql, postgresql_folder, user_exists
from tests.conftest import ROOT
from variants import registry

FILE = ROOT / "experiments" / "smoke" / "design_axes.toml"
VARIANTS, STEPS = 12, 15
TWO = ("one", "two")
WORKERS = 4  # for each of two studies on SQLite, which has one writer at a time
MANY = 16  # on PostgreSQL


def crowds(world: World, times: int, say: Say) -> Tally:
    """Eight workers, four for each of two studies, on one SQLite store."""
    world.prepare()
    tally = Tally(f"{2 * WORKERS} workers on one SQLite store, two studies")
    url = f"sqlite:///{world.store_dir}/optuna.db"
    while tally.tried < times:
        world.fresh()
        _crowd(world, tally, (world.uri, url), WORKERS, 1)
        say(tally)
    return tally


def large_crowds(world: World, times: int, say: Say) -> Tally:
    """Thirty-two workers, sixteen for each of two studies, queue and record on PostgreSQL."""
    tally = Tally(f"{2 * MANY} workers on PostgreSQL, two studies")
    commands = postgresql_folder()
    if commands is None or not user_exists() or find_spec("psycopg") is None:
        tally.note("not tried: no PostgreSQL server here")
        return tally
    with postgresql(commands, connections=400) as server:
        while tally.tried < times:
            number = f"{tally.tried}_{time.monotonic_ns()}"
            both = [create_database(server, f"{what}_{number}") for what in ("mlflow", "optuna")]
            _crowd(world, tally, (both[0], both[1]), MANY, 2)
            say(tally)
    return tally


def _crowd(world: World, tally: Tally, stores: tuple[str, str], workers: int, seeds: int) -> None:
    """Two studies at once on `stores`, the record and the queue, so many workers for each."""
    ended = []
    for name in TWO:
        begin = partial(then_modules, partial(begin_study, *stores, name, seeds))
        ended.append(child(begin, world.folder))
        import_all((ended[-1].answer or [None, []])[1])  # once, and not in every worker
    started = []
    for number, name in enumerate(TWO * workers):
        beat = world.folder / f"beat-{number}"
        beat.touch()
        act = partial(work_on, *stores, name, beat)
        started.append(children.begin(act, world.folder, beat=beat))
    crowd = [wait() for wait in started]
    for end in crowd:
        tally.took(end.answer or 0.0)
    ended += crowd
    jobs_of_each = VARIANTS * seeds
    ended += [child(partial(faults_of, *stores, name, jobs_of_each), world.folder) for name in TWO]
    wrong = [end.words for end in ended if end.words] + troubles(ended)
    wrong += [fault for end in ended[-2:] for fault in end.answer or []]
    tally.count(wrong)
    tally.note(f"{2 * jobs_of_each} trials of {STEPS} steps each time")


def begin_study(uri: str, url: str, name: str, seeds: int = 1) -> None:
    study = load_study(FILE, [f"study.name='{name}'", f"study.seeds={seeds}"], registry())
    execute.begin(study, name, open_tracker(uri), url, "textgan study")


class Pulse:
    """A worker's signs of life, and the longest time without one."""

    def __init__(self, file: Path) -> None:
        self._file, self._last, self.longest = file, time.monotonic(), 0.0

    def __call__(self) -> None:
        """Alive."""
        now = time.monotonic()
        self.longest, self._last = max(self.longest, now - self._last), now
        self._file.touch()


def work_on(uri: str, url: str, name: str, beat: Path) -> float:
    """Work to the end of the study; the longest time without a sign of life."""
    pulse = Pulse(beat)
    look = execute.Worker.look

    def looking(worker: execute.Worker) -> Plan:
        pulse()
        return look(worker)

    execute.Worker.look = looking  # type: ignore[method-assign]
    execute.work(name, open_tracker(uri), url, partial(_train, pulse), registry())  # type: ignore[arg-type]
    pulse()
    return pulse.longest


def faults_of(uri: str, url: str, name: str, count: int) -> list[str]:
    """What is missing, double, or another study's."""
    tracker = open_tracker(uri)
    queue = jobs.load_queue(name, url)
    trials = queue.get_trials(deepcopy=False)
    done = [t for t in trials if t.state == TrialState.COMPLETE]
    keys = {(t.user_attrs["variant"], t.user_attrs["seed"]) for t in done}
    runs = [r for r in tracker.runs(name) if r.tags.get("level") == "seed"]
    found = jobs.failures(queue)
    if (len(done), len(keys), len(runs)) != (count, count, count):
        found.append(f"{name}: {len(done)} trials, {len(keys)} jobs, {len(runs)} runs of {count}")
    if {t.user_attrs["run_id"] for t in done} != {r.run_id for r in runs}:
        found.append(f"{name}: trials and runs do not belong together")
    for record in runs:
        wanted = [(step, step / 7) for step in range(STEPS)]
        if tracker.history(record.run_id, "m") != wanted or record.tags["study"] != name:
            found.append(f"{name}: run {record.name} has lost or foreign metrics")
    return found


def _train(
    pulse: Pulse,
    config: Config | None,
    *,
    tracker: Tracker,
    labels: RunLabels,
    resume: str | None,
    started: Callable[[str], None],
    **_: Any,
) -> RunRecord:
    """Stands for training: only what is kept matters here."""
    name = labels.name or ""
    record = tracker.start_run(
        labels.experiment, name, params={}, tags={**labels.tags, "seed": name.split()[-1]},
        parent_id=labels.parent_id,
    )  # fmt: skip
    started(record.run_id)
    for step in range(STEPS):
        record.log_metrics({"m": step / 7, "eval/ms_jaccard_2": 0.5}, step)
        pulse()
    record.finish("ok")
    return tracker.run(record.run_id)
