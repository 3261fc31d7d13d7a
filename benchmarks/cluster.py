"""What a study's queue costs a call, on PostgreSQL and an MLflow server, and what that means for
1 to 10,000 workers (`benchmarks.queue_model`). The prediction for 1, 2 and 4 workers is held
against measurement.

Every call is taken twice: by CPU time, the worker's own and that of the server's processes, which a
busy machine hardly distorts and from which the tables are made; and by the clock, where what is not
the worker's CPU is the server's, from which the check is predicted, since it is measured by the
clock too. Prints one JSON document a table. Needs PostgreSQL and the extra packages of a cluster.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
import psutil

from benchmarks.queue_model import REMEDIES, Costs, Load, Site, first_bottleneck, simulate, without
from core.tracking.mlflow_store import open_tracker
from core.tracking.protocol import RunLabels, RunRecord, Tracker
from core.tracking.rendering import Sample
from studies.definition import Study, load_study
from studies.running.execute import begin, work
from studies.running.queue import limit_of, load_queue, progress
from studies.running.storage import open_storage
from studies.running.worker import Worker
from tests.cluster.servers import create_database, mlflow_on, postgresql, postgresql_folder
from variants import registry

FILE = Path(__file__).parents[1] / "experiments" / "smoke" / "design_axes.toml"
COUNTS = (1, 4, 16, 64, 256, 1024, 4096, 10_000)
JOBS, BATCHES, POINTS = 24, 5, 20
SECONDS = 2.0  # of the stand-in for training
REPEATS = 8
By = Literal["cpu", "clock"]
TRIALS = 200  # that a plan or a sampler looks at, at most


def main() -> None:
    """All tables."""
    folder = postgresql_folder()
    if folder is None:
        sys.exit("benchmarks.cluster needs a PostgreSQL server (apt-get install postgresql)")
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        with postgresql(folder, 200) as server:
            record = create_database(server, "mlflow")
            with mlflow_on(record, Path(place) / "mlflow") as address:
                found, clock = measured(server, address)
                for by, costs in (("CPU", found), ("clock", clock)):
                    show(f"seconds a call, by {by}", asdict(costs))
                for workers in (1, 2, 4):
                    show(*compared(server, address, clock, workers))
    for name, load in LOADS.items():
        show(name, scaling(found, load))


def show(name: str, table: Mapping[str, Any]) -> None:
    """Print one table."""
    print(json.dumps({"name": f"cluster: {name}", **table}), flush=True)


LOADS = {
    "ablation, runs of 5 minutes": Load(seconds=300),
    "ablation, runs of 20 seconds": Load(seconds=20, batches=5),
    "search with TPE, runs of 5 minutes": Load(seconds=300, samples=True, pruned=0.3),
    "ablation, runs of 1 hour, 2% of them lose their worker": Load(
        seconds=3600, batches=60, dies=0.02
    ),
}


def scaling(costs: Costs, load: Load) -> dict[str, Any]:
    """Efficiency by the number of workers; the first bottleneck, and what its remedy brings."""
    site = Site()
    table = {count: round(simulate(costs, load, site, count).efficiency, 3) for count in COUNTS}
    first = first_bottleneck(costs, load, site, COUNTS)
    document: dict[str, Any] = {"efficiency": table}
    if first is not None:
        workers, what = first
        better, more = without(costs, site, what)
        document |= {
            "first_bottleneck": what,
            "at_workers": workers,
            "remedy": REMEDIES[what],
            "there": table[workers],
            "there_after_it": round(simulate(better, load, more, workers).efficiency, 3),
        }
    return document


@dataclass(frozen=True)
class Call:
    """Median seconds of a call."""

    own: float  # CPU of this process
    server: float  # CPU of the servers' processes
    rest: float  # of the clock, that are not this process's CPU

    def waits(self, by: By) -> float:
        """What it costs the server."""
        return self.server if by == "cpu" else self.rest

    def whole(self, by: By) -> float:
        """What it costs the worker, if nobody else is there."""
        return self.own + self.waits(by)


def measured(server: str, address: str) -> tuple[Costs, Costs]:
    """One worker's calls, nobody else there: by CPU time, and by the clock."""
    tracker = open_tracker(address)
    url = create_database(server, "costs")
    study = plan("costs", JOBS)
    begin(study, "costs", tracker, url, "")
    queue = load_queue("costs", url)
    worker = Worker(queue, study, tracker, _nothing, url)  # type: ignore[arg-type]

    def look() -> None:  # as `studies.running.execute.work` does before each job
        worker.look()
        progress(queue, study.table)
        limit_of(queue)

    few, turn = cost(look, REPEATS), cost(worker.take_one, REPEATS)
    create(queue, TRIALS)
    many = cost(look, REPEATS)
    points, ends = run_costs(tracker)
    first, later = sampler_costs(url)
    begins = worker_costs(server, address)

    def costs(by: By) -> Costs:
        return Costs(
            look=few.whole(by) + turn.own,
            look_trial=max(0.0, many.whole(by) - few.whole(by)) / TRIALS,
            ask=turn.waits(by) / 2,
            tell=turn.waits(by) / 2,
            sample=first.whole(by),
            sample_trial=max(0.0, later.whole(by) - first.whole(by)) / TRIALS,
            log=points.waits(by),
            ends=ends.waits(by),
            own=ends.own,
            log_own=points.own,
            start=begins[by],
            beat=turn.waits(by) / 10,  # one statement of the ten or so of a turn
        )

    return costs("cpu"), costs("clock")


def cost(call: Callable[[], object], repeats: int) -> Call:
    """What a call costs whom."""
    found = []
    for _ in range(repeats):
        wall, cpu, there = time.perf_counter(), time.process_time(), servers_cpu()
        call()
        own = time.process_time() - cpu
        rest = max(0.0, time.perf_counter() - wall - own)
        found.append((own, servers_cpu() - there, rest))
    # The servers' clock ticks in hundredths: its mean, not its median.
    own, there, rest = zip(*found, strict=True)
    return Call(statistics.median(own), statistics.mean(there), statistics.median(rest))


def servers_cpu() -> float:
    """CPU seconds that the servers of this process have used so far."""
    used = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            used += times.user + times.system
    return used


def run_costs(tracker: Tracker) -> tuple[Call, Call]:
    """A batch of points; and all else that a run of a study keeps."""
    record = tracker.start_run("costs", "points", params={}, tags={})
    step = iter(range(10**6))

    def log() -> None:
        at = next(step)
        record.log_metrics({f"m{key}": at / 7 for key in range(POINTS)}, at)
        record.flush()

    points = cost(log, REPEATS)
    rows = [Sample(s, row, "the old river keeps a song") for s in range(5) for row in range(10)]
    weights = Path("weights")
    weights.mkdir()
    (weights / "generator.safetensors").write_bytes(bytes(500_000))
    number = iter(range(10**6))

    def whole() -> None:
        run = tracker.start_run("costs", f"run {next(number)}", params={"a": 1}, tags={"b": "c"})
        run.log_text("x" * 2000, "config.toml")
        for _ in range(2):
            run.log_samples(rows)
        run.log_model(weights)
        run.finish("ok")
        tracker.run(run.run_id)

    return points, cost(whole, 5)


def worker_costs(server: str, address: str) -> dict[By, float]:
    """What a worker costs beside its runs: one process for a study of stand-ins that take no time,
    from its first word to its end, less the median time from one run's end to the next one's.
    """
    name = "alone"
    url = create_database(server, name)
    begin(plan(name, JOBS), name, open_tracker(address), url, "")
    context = multiprocessing.get_context("fork")
    ready, ended = context.Barrier(2), context.SimpleQueue()

    def work_alone() -> None:
        marks = [(0.0, 0.0)]

        def train(*arguments: Any, **named: Any) -> RunRecord:
            result = _stand_in(*arguments, seconds=0.0, **named)
            marks.append((time.process_time(), time.perf_counter()))
            return result

        _work(name, url, address, ready, train)
        ended.put((marks[1:], time.process_time()))

    process = context.Process(target=work_alone)
    process.start()
    ready.wait()
    begun = time.perf_counter()
    marks, cpu = ended.get()
    process.join()
    wall = time.perf_counter() - begun
    steps = [statistics.median(np.diff(column)) for column in zip(*marks, strict=True)]
    return {"cpu": max(0.0, cpu - JOBS * steps[0]), "clock": max(0.0, wall - JOBS * steps[1])}


def sampler_costs(url: str) -> tuple[Call, Call]:
    """A TPE proposal over ten settings, after 10 trials and after `TRIALS` more."""
    study = optuna.create_study(
        storage=open_storage(url, beats=False),
        sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=5),
    )

    def propose() -> None:
        trial = study.ask()
        for key in range(10):
            trial.suggest_float(f"x{key}", 1e-4, 1e-2, log=True)
        study.tell(trial, 0.5)

    for _ in range(10):
        propose()
    few = cost(propose, REPEATS)
    distribution = optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)
    space: dict[str, Any] = {f"x{key}": distribution for key in range(10)}
    study.add_trials(
        [
            optuna.create_trial(
                params=dict.fromkeys(space, 1e-3 * (1 + n / TRIALS)), distributions=space, value=0.5
            )
            for n in range(TRIALS)
        ]
    )
    return few, cost(propose, REPEATS)


def create(queue: optuna.Study, count: int) -> None:
    """Trials that have ended, of jobs that the plan does not know."""
    queue.add_trials(
        [
            optuna.create_trial(
                value=0.5, user_attrs={"variant": f"other {n}", "seed": 0, "outcome": "ok"}
            )
            for n in range(count)
        ]
    )


def compared(server: str, address: str, costs: Costs, workers: int) -> tuple[str, dict[str, Any]]:
    """A study of stand-ins for training by so many processes, beside what the model says."""
    name = f"by_{workers}"
    url = create_database(server, name)
    begin(plan(name, JOBS), name, open_tracker(address), url, "")
    ready = multiprocessing.get_context("fork").Barrier(workers + 1)
    processes = [
        multiprocessing.get_context("fork").Process(target=_work, args=(name, url, address, ready))
        for _ in range(workers)
    ]
    for process in processes:
        process.start()
    ready.wait()
    begun = time.perf_counter()
    for process in processes:
        process.join()
    took = time.perf_counter() - begun
    load = Load(seconds=SECONDS, spread=0.0, batches=BATCHES, jobs=JOBS // workers)
    cores = psutil.cpu_count()
    said = simulate(costs, load, Site(database=2, tracking=1, cores=cores), workers)
    return f"{JOBS} stand-ins of {SECONDS:g} s by {workers}", {
        "measured_s": round(took, 1),
        "predicted_s": round(said.makespan, 1),
        "measured_efficiency": round(JOBS * SECONDS / workers / took, 3),
        "predicted_efficiency": round(said.efficiency, 3),
        "load_average": round(os.getloadavg()[0], 1),
    }


def plan(name: str, jobs: int) -> Study:
    """A study of so many jobs."""
    return load_study(FILE, [f"study.name={name}", f"study.seeds={jobs // 12}"], registry())


def _work(name: str, url: str, address: str, ready: Any, train: Any = None) -> None:
    folder = Path(tempfile.mkdtemp(dir="."))
    os.chdir(folder)
    tracker = open_tracker(address)
    ready.wait()
    work(name, tracker, url, train or _stand_in, registry())


def _stand_in(
    _: object,
    *,
    tracker: Tracker,
    labels: RunLabels,
    started: Callable[[str], None],
    seconds: float = SECONDS,
    **__: Any,
) -> RunRecord:
    """Sleeps where training would be, and keeps what a run keeps."""
    name = labels.name or ""
    record = tracker.start_run(
        labels.experiment, name, params={}, tags={**labels.tags, "seed": name.split()[-1]},
        parent_id=labels.parent_id,
    )  # fmt: skip
    started(record.run_id)
    weights = Path("weights")
    weights.mkdir(exist_ok=True)
    (weights / "generator.safetensors").write_bytes(bytes(500_000))
    record.log_text("x" * 2000, "config.toml")
    for batch in range(BATCHES):
        time.sleep(seconds / BATCHES)
        record.log_metrics({"eval/ms_jaccard_2": 0.5, "m": batch / 7}, batch)
    record.log_samples([Sample(0, row, "the old river keeps a song") for row in range(50)])
    record.log_model(weights)
    record.finish("ok")
    return tracker.run(record.run_id)


def _nothing(_: object, *, tracker: Tracker, **__: Any) -> Any:
    """Training that takes no time and keeps nothing."""
    return RunRecord("x", "costs", "x", "FINISHED", {"outcome": "ok"}, {}, {}, 0, 1)


if __name__ == "__main__":
    main()
