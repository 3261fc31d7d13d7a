"""What a run does besides its steps: reading batches of the corpus, and evaluating.

    python -m benchmarks.waiting [SYSTEM|FILE.toml] [--set a.b=c ...]

The original scaled down (study `design_axes`) on the grammar, or another system, with the whole of
an evaluation and its parts: sentences drawn, metrics, diagnoses of both players, likelihood, the
record. CPU seconds of the training thread; shares are of a run with an evaluation every
`evaluation.every` updates.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.threads import design_axes
from core.metrics.suite import Suite
from core.tracking.mlflow_store import open_tracker
from core.training import loop
from core.training.batches import Batches
from experiments import load, run
from experiments.generate import SentenceSampler
from experiments.single_run import evaluator
from experiments.single_run.evaluator import Evaluator
from experiments.single_run.session import Session

UPDATES = 40
PARTS = ("drawing", "metrics", "diagnoses", "likelihood", "shown", "logged", "saved")


def main() -> None:
    parts: dict[str, list[float]] = defaultdict(list)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*given: Any, **named: Any) -> Any:
            began = time.thread_time()
            try:
                return function(*given, **named)
            finally:
                parts[name].append(time.thread_time() - began)

        return measured

    parser = argparse.ArgumentParser()
    parser.add_argument("system", nargs="?")
    parser.add_argument("--set", action="append", default=[])
    asked = parser.parse_args()
    config = load(asked.system, asked.set) if asked.system else design_axes()
    train = config.train.model_copy(update={"updates": UPDATES, "minutes": None})
    config = config.model_copy(update={"train": train})
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(Batches, "batch", timed("batches", Batches.batch)),
        patch.object(loop, "train_phase", timed("steps", loop.train_phase)),
        patch.object(Session, "_evaluate", timed("evaluation", Session._evaluate)),
        patch.object(Evaluator, "diagnoses", timed("diagnoses", Evaluator.diagnoses)),
        patch.object(SentenceSampler, "rows", timed("drawing", SentenceSampler.rows)),
        patch.object(Suite, "evaluate", timed("metrics", Suite.evaluate)),
        patch.object(evaluator, "nll_gen", timed("likelihood", evaluator.nll_gen)),
        patch.object(Session, "_log_sentences", timed("shown", Session._log_sentences)),
        patch.object(Session, "_log", timed("logged", Session._log)),
        patch.object(Session, "_save", timed("saved", Session._save)),
    ):
        run(config, tracker=open_tracker(f"sqlite:///{Path(folder)}/mlflow.db"))
    every, update = config.evaluation.every, sum(parts["steps"]) / UPDATES
    evaluation = parts["evaluation"][-1]  # the first one has compiled and indexed
    document = {
        "name": "waiting",
        "unit": "shares of a run, CPU seconds of the training thread",
        "evaluation_every": every,
        "update_s": update,
        "batch_s": sum(parts["batches"]) / len(parts["batches"]),
        "batches": sum(parts["batches"]) / UPDATES / update,
        "evaluation_s": evaluation,
        **{f"{part}_s": parts[part][-1] for part in PARTS},
        "evaluation": evaluation / (every * update + evaluation),
        "load": os.getloadavg()[0],
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
