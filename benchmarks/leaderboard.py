"""The leaderboard of `textgan report` on 5,000 logged runs.

Bar: under 5 seconds, start of the command included; CPU seconds, which is what one thread of a
quiet machine takes. The runs have the parameters, tags and metrics
of real ones; one is logged and the others are copies of its rows. The yardstick is MLflow's own
`search_runs` over the same runs.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from core.tracking.mlflow_store import MlflowTracker
from studies.leaderboard import leaderboard

STUDY, METRIC = "many", "eval/ms_jaccard_2"
VARIANTS, PARAMS, METRICS = 100, 60, 60
TABLES = ("runs", "tags", "params", "latest_metrics", "metrics")


def fill(tracker: MlflowTracker, runs: int) -> None:
    """A study of 100 variants and `runs` runs of seeds."""
    shared = {"study": STUDY, "kind": "ablation"}
    parent = tracker.start_run(
        STUDY, STUDY, params={"metric": METRIC}, tags={**shared, "level": "study"}
    )
    parent.finish("ok")
    variants = []
    for number in range(VARIANTS):
        name = f"variant {number}"
        values = {"sampling": f"s{number % 10}", "objective": f"o{number // 10}"}
        tags = {**shared, "level": "variant", "variant": name}
        record = tracker.start_run(
            STUDY, name, params=values, tags=tags, parent_id=parent.run_id
        )  # fmt: skip
        record.finish("ok")
        variants.append(record.run_id)
    first = _log_one(tracker, variants[0], shared)
    _copy(tracker.uri.removeprefix("sqlite:///"), first, variants, runs)


def _log_one(tracker: MlflowTracker, parent_id: str, shared: dict[str, str]) -> str:
    tags = {**shared, "level": "seed", "variant": "variant 0", "seed": "0"}
    tags |= {f"tag_{n}": "x" * 40 for n in range(12)}
    params = {f"table.key_{n}": n for n in range(PARAMS)}
    run = tracker.start_run(STUDY, "seed 0", params=params, tags=tags, parent_id=parent_id)
    run.describe("x" * 800)
    keys = [METRIC, METRIC.replace("eval/", "real/"), *(f"eval/m{n}" for n in range(METRICS - 2))]
    for step in (0, 100):
        run.log_metrics(dict.fromkeys(keys, 0.5), step)
    run.finish("ok")
    return run.run_id


def _copy(path: str, first: str, variants: Sequence[str], runs: int) -> None:
    rng = np.random.default_rng(0)
    with sqlite3.connect(path) as store:
        for number in range(1, runs):
            copy, variant = uuid.uuid4().hex, number % VARIANTS
            for table in TABLES:
                columns = [row[1] for row in store.execute(f"pragma table_info({table})")]
                chosen = ",".join("?" if c == "run_uuid" else f'"{c}"' for c in columns)
                store.execute(
                    f"insert into {table} select {chosen} from {table} where run_uuid = ?",
                    (copy, first),
                )
            for key, value in {
                "variant": f"variant {variant}",
                "seed": str(number // VARIANTS),
                "mlflow.parentRunId": variants[variant],
            }.items():
                store.execute(
                    "update tags set value = ? where run_uuid = ? and key = ?", (value, copy, key)
                )
            store.execute(
                "update latest_metrics set value = ? where run_uuid = ? and key = ?",
                (variant / VARIANTS + float(rng.random()), copy, METRIC),
            )


def _seconds(measured: Callable[[], object]) -> float:
    """CPU seconds, of this process and of those that it waited for."""
    began = os.times()
    measured()
    ended = os.times()
    return round(sum(ended[:4]) - sum(began[:4]), 2)


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5000)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        tracker = MlflowTracker(f"sqlite:///{Path(folder) / 'mlflow.db'}")
        fill(tracker, runs)
        command = [sys.executable, "-m", "experiments", "report", STUDY, "--json"]
        environment = {**os.environ, "MLFLOW_TRACKING_URI": tracker.uri}
        whole = _seconds(
            lambda: subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        )
        read = _seconds(lambda: leaderboard(tracker, STUDY))
        plain = _seconds(lambda: tracker._search(STUDY, {}))
    document = {"name": "leaderboard", "runs": runs, "ratio": round(plain / read, 1),
                "fast_s": read, "plain_s": plain, "command_s": whole, "bar_s": 5,
                "unit": "CPU seconds to read and rank"}  # fmt: skip
    sys.stdout.write(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
