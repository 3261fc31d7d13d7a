"""One small run, and all that can be said of it afterwards: what a fault must not change."""

from __future__ import annotations

import contextlib
import hashlib
import math
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from core.config import Config
from core.tracking.mlflow_store import MlflowTracker, open_tracker
from core.tracking.protocol import RunRecord
from experiments.loading import open_corpus
from experiments.single_run.run import run
from tests.conftest import tiny

UPDATES = 6
CONFIG = ("train.updates=6", "train.checkpoint_every=2", "train.log_every=1", "evaluation.every=2",
          "evaluation.gradients=2", "train.ema=0.5", "train.entropy=0.01")  # fmt: skip
TIMED = ("train/updates_per_second", "train/tokens_per_second", "system/")


def config() -> Config:
    return tiny(*CONFIG)


def prepare(template: Path) -> None:
    """A store with its tables and the corpus, so that no run pays for them again."""
    tracker = open_tracker(f"sqlite:///{template}/mlflow.db")
    settings = config()
    open_corpus(settings.corpus, tracker.store_dir, settings.model.length)
    tracker.store.experiment_id("runs")
    # Else the log of these tables, larger than any run, gives its room back to the first one.
    with contextlib.closing(sqlite3.connect(template / "mlflow.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def fresh(template: Path, store_dir: Path) -> Path:
    """The template's copy at `store_dir`; whatever was there is gone."""
    if store_dir.exists():
        for inner in store_dir.iterdir():
            shutil.rmtree(inner) if inner.is_dir() and not inner.is_symlink() else inner.unlink()
    shutil.copytree(template, store_dir, dirs_exist_ok=True)
    return store_dir


def work(uri: str) -> str:
    """Begin the run, or go on with the one that is there, until it has ended."""
    tracker = open_tracker(uri)
    begun = tracker.runs("runs", tags={"level": "run"})
    if begun:
        return run(None, tracker=tracker, resume=begun[0].run_id).outcome
    return run(config(), tracker=tracker).outcome


def facts(uri: str, experiment: str = "runs") -> dict[str, Any]:
    """What there is to say of the one run of an experiment."""
    tracker = open_tracker(uri)
    records = tracker.runs(experiment, tags={"level": "run"})
    assert len(records) == 1, f"{len(records)} runs"
    return facts_of(tracker, records[0])


def facts_of(tracker: MlflowTracker, record: RunRecord) -> dict[str, Any]:
    """Everything but times: metrics by step, sentences, weights, tags, how many of each."""
    keys = sorted(key for key in record.metrics if not key.startswith(TIMED))
    history = {
        key: [[step, _plain(value)] for step, value in tracker.history(record.run_id, key)]
        for key in keys
    }
    folder = tracker.model(record.run_id)
    weights = load_file(folder / "generator.safetensors")
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].numpy().tobytes())
    stored = tracker.store.client.get_run(record.run_id)
    return {
        "status": record.status,
        "outcome": record.outcome,
        "params": dict(record.params),
        "dataset": [each.dataset.digest for each in stored.inputs.dataset_inputs],
        "history": history,
        "sentences": tracker.artifact(record.run_id, "samples.json").read_text(),
        "weights": digest.hexdigest(),
        "models": len(stored.outputs.model_outputs),
        "waiting": tracker.undelivered(),
        "refused": [file.name for file in (tracker.store_dir / "journal").glob("*.refused")],
    }


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else repr(value)


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Which of the facts differ; metrics by name."""
    wrong = [key for key in expected if key != "history" and found.get(key) != expected[key]]
    names = {*found.get("history", {}), *expected["history"]}
    ours, theirs = found.get("history", {}), expected["history"]
    return wrong + sorted(name for name in names if ours.get(name) != theirs.get(name))
