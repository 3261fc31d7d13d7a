"""What a study's queue costs a call, on PostgreSQL and an MLflow server, and what that means for
1 to 10,000 workers (`benchmarks.queue_model`). The prediction for 1, 2 and 4 workers is held
against measurement.

A worker's own share of a call is its CPU time; the rest is the server's, for which others wait.
Prints one JSON document a table. Needs PostgreSQL and the extra packages of a cluster.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna

from benchmarks.queue_model import REMEDIES, Costs, Load, Site, first_bottleneck, simulate, without
from core.tracking.mlflow_store import open_tracker
from core.tracking.protocol import RunRecord, Sample, Tracker
from studies.definition import Study, load_study
from studies.execute import begin, work
from studies.queue import load_queue
from studies.storage import open_storage
from studies.worker import Worker
from tests.cluster.servers import create_database, mlflow_on, postgresql, postgresql_folder
from variants import registry

FILE = Path(__file__).parents[1] / "experiments" / "smoke" / "card_axes.toml"
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 10_000)
JOBS, BATCHES, POINTS = 24, 5, 20
SECONDS = 2.0  # of the stand-in for training
REPEATS = 10
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
                found = measured(server, address)
                print(json.dumps({"name": "cluster_costs_s", **asdict(found)}))
                for workers in (1, 2, 4):
                    print(json.dumps(compared(server, address, found, workers)), flush=True)
    for name, load in LOADS.items():
        print(json.dumps(scaling(name, found, load)), flush=True)


LOADS = {
    "ablation, runs of 5 minutes": Load(seconds=300),
    "ablation, runs of 20 seconds": Load(seconds=20, batches=5),
    "search with TPE, runs of 5 minutes": Load(seconds=300, samples=True, pruned=0.3),
    "ablation, runs of 1 hour, 2% of them lose their worker": Load(
        seconds=3600, batches=360, dies=0.02, jobs=3
    ),
}


def scaling(name: str, costs: Costs, load: Load) -> dict[str, Any]:
    """Efficiency by the number of workers; the first bottleneck, and what its remedy brings."""
    site, counts = Site(), [count for count in COUNTS if count * load.jobs <= 40_000]
    table = {count: round(simulate(costs, load, site, count).efficiency, 3) for count in counts}
    first = first_bottleneck(costs, load, site, counts)
    document: dict[str, Any] = {"name": f"cluster: {name}", "efficiency": table}
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


def measured(server: str, address: str) -> Costs:
    """One worker's calls, nobody else there."""
    tracker = open_tracker(address)
    url = create_database(server, "costs")
    study = plan("costs", JOBS)
    begin(study, "costs", tracker, url, "")
    queue = load_queue("costs", url)
    worker = Worker(queue, study, tracker, _nothing, url)  # type: ignore[arg-type]
    look = cost(worker.look, REPEATS)
    turn = cost(worker.take_one, REPEATS)
    few = cost(worker.look, REPEATS)
    create(queue, TRIALS)
    many = cost(worker.look, REPEATS)
    log, ends = run_costs(tracker)
    sample, sample_trial = sampler_costs(url)
    return Costs(
        look=look[0] + look[1] + turn[0],
        look_trial=max(0.0, sum(many) - sum(few)) / TRIALS,
        ask=turn[1] / 2,
        tell=turn[1] / 2,
        sample=sample,
        sample_trial=sample_trial,
        log=log[1],
        ends=ends[1],
        own=ends[0],
        beat=turn[1] / 10,  # one statement of the ten or so of a turn
    )


def cost(call: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds of a call: this process's CPU, and what is left of the clock's."""
    own, rest = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        own.append(time.process_time() - cpu)
        rest.append(max(0.0, time.perf_counter() - wall - own[-1]))
    return statistics.median(own), statistics.median(rest)


def run_costs(tracker: Tracker) -> tuple[tuple[float, float], tuple[float, float]]:
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

    return points, cost(whole, 5)


def sampler_costs(url: str) -> tuple[float, float]:
    """Seconds of one TPE proposal over ten settings, and for each trial that it learns from."""
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
    many = cost(propose, REPEATS)
    return sum(few), max(0.0, sum(many) - sum(few)) / TRIALS


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


def compared(server: str, address: str, costs: Costs, workers: int) -> dict[str, Any]:
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
    said = simulate(costs, load, Site(database=2, tracking=1), workers)
    return {
        "name": f"cluster: {JOBS} stand-ins of {SECONDS:g} s by {workers}",
        "measured_s": round(took, 1),
        "predicted_s": round(said.makespan, 1),
        "measured_efficiency": round(JOBS * SECONDS / workers / took, 3),
        "predicted_efficiency": round(said.efficiency, 3),
        "load_average": round(os.getloadavg()[0], 1),
    }


def plan(name: str, jobs: int) -> Study:
    """A study of so many jobs."""
    return load_study(FILE, [f"study.name={name}", f"study.seeds={jobs // 12}"], registry())


def _work(name: str, url: str, address: str, ready: Any) -> None:
    folder = Path(tempfile.mkdtemp(dir="."))
    os.chdir(folder)
    tracker = open_tracker(address)
    ready.wait()
    work(name, tracker, url, _stand_in, registry())  # type: ignore[arg-type]


def _stand_in(
    _: object,
    *,
    tracker: Tracker,
    experiment: str,
    name: str,
    parent_id: str | None,
    tags: Mapping[str, str],
    started: Callable[[str], None],
    **__: Any,
) -> RunRecord:
    """Sleeps where training would be, and keeps what a run keeps."""
    record = tracker.start_run(
        experiment, name, params={}, tags={**tags, "seed": name.split()[-1]}, parent_id=parent_id
    )
    started(record.run_id)
    weights = Path("weights")
    weights.mkdir(exist_ok=True)
    (weights / "generator.safetensors").write_bytes(bytes(500_000))
    record.log_text("x" * 2000, "config.toml")
    for batch in range(BATCHES):
        time.sleep(SECONDS / BATCHES)
        record.log_metrics({"eval/ms_jaccard_2": 0.5, "m": batch / 7}, batch)
    record.log_samples([Sample(0, row, "the old river keeps a song") for row in range(50)])
    record.log_model(weights)
    record.finish("ok")
    return tracker.run(record.run_id)


def _nothing(_: object, *, tracker: Tracker, **__: Any) -> Any:
    """Training that takes no time and keeps nothing."""
    return RunRecord("x", "costs", "x", "FINISHED", None, {"outcome": "ok"}, {}, {}, 0, 1)


if __name__ == "__main__":
    main()
