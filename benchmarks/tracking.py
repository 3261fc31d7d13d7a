"""The training loop with MLflow on SQLite beside the same loop with a tracker in memory."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.measure import Times, show
from benchmarks.sizes import CPU, Sentences, Setting
from core.config import override, parse
from core.tracking.memory import MemoryTracker
from core.tracking.mlflow_store import open_tracker
from core.tracking.protocol import RunTracker
from core.training.loop import Trainer
from core.training.players import build
from core.training.state import TrainingState
from variants import registry

SIZE = Setting(batch=8, length=8, vocabulary=200, light=True, micro_batch=None)
UPDATES = 20  # of a block: two points of every curve
BLOCKS = 5


def tracking() -> None:
    """`tracking`: medians of blocks of the loop, turn by turn; wall seconds decide."""
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{temporary}/mlflow.db"
        recorded = open_tracker().start_run("bench", "recorded", params={}, tags={})
        silent = MemoryTracker(Path(temporary)).start_run("bench", "silent", params={}, tags={})
        found: dict[str, list[tuple[float, float]]] = {"recorded": [], "silent": []}
        for block in range(BLOCKS + 1):
            for name, record in (("recorded", recorded), ("silent", silent)):
                taken = loop(record, block)
                if block > 0:
                    found[name].append(taken)
        recorded.finish("ok")
    fast, plain = (
        Times(*(statistics.median(values) for values in zip(*found[name], strict=True)), BLOCKS)
        for name in ("recorded", "silent")
    )
    unit = f"seconds of {UPDATES} updates: with MLflow (fast_s), with nothing (plain_s)"
    show("tracking", fast, plain, unit, slower=fast.cpu / plain.cpu - 1)


def loop(record: RunTracker, block: int) -> tuple[float, float]:
    """CPU seconds of the training thread and wall seconds of one block of updates."""
    tables = override(SIZE.config().tables(), [f"train.updates={UPDATES}"])
    config = parse(tables, registry(), "benchmark")
    players = build(config, registry(), SIZE.vocabulary, CPU)

    def log(values: object, step: int) -> None:
        record.log_metrics(values, block * UPDATES + step)  # type: ignore[arg-type]

    state = TrainingState(config, players, Sentences(SIZE), CPU)  # type: ignore[arg-type]
    trainer = Trainer(state, log)
    wall, cpu = time.perf_counter(), time.thread_time()
    trainer.train(lambda: None, lambda: None)
    return time.thread_time() - cpu, time.perf_counter() - wall
