"""Tuned likelihood: training stops after the validation optimum, whose weights are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.config import Config
from core.text.grammar import grammar
from core.tracking.memory import MemoryTracker
from core.training.nll_gen import nll_gen
from experiments import mle_training
from experiments.generate import load_generator
from experiments.loading import load, open_corpus
from experiments.single_run.run import run
from experiments.single_run.session import Result

FEW = ("generator.width=16", "generator.hidden=16", "generator.heads=2", "train.batch_size=16",
       "train.generator_lr=0.03", "evaluation.every=20")  # fmt: skip


@pytest.mark.fidelity
def test_training_stops_after_the_validation_optimum_and_keeps_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours: 150 sentences, which a few updates learn by heart."""
    curve, used = dict[int, float](), list[Config]()

    def watched(config: Config, *, tracker: MemoryTracker) -> Result:
        result = run(config, tracker=tracker)
        curve.update(tracker.history(result.run_id, "eval/nll_gen")[1:])
        return result

    def small(system: str, overrides: list[str]) -> Config:
        used.append(load(system, [*overrides, *FEW]))
        return used[0]

    monkeypatch.setattr(mle_training, "run", watched)
    monkeypatch.setattr(mle_training, "load", small)
    text = grammar("easy").sample(150, 1)
    (tmp_path / "train.txt").write_text("\n".join(" ".join(words) for words in text) + "\n")
    mle_training.train(tmp_path, 2000)

    (config,) = used
    best = min(curve, key=lambda step: curve[step])
    last = best + mle_training.PATIENCE * config.evaluation.every
    assert max(curve) == last < 2000, "it stopped"
    assert json.loads((tmp_path / "about.json").read_text())["updates"] == best
    kept: Any = load_generator(tmp_path)
    corpus = open_corpus(config.corpus, tmp_path, config.model.length)
    rows = corpus.validation.rows(np.arange(len(corpus.validation)), config.model.length)
    assert nll_gen(kept.generator, kept.spec, rows).value == pytest.approx(curve[best], rel=1e-6)


@pytest.mark.fidelity
def test_it_is_mle_with_other_settings() -> None:
    """Ours: batch, learning rate and averages were tuned; the rest is `mle`."""
    tuned, plain = (load(system).flat() for system in ("mle_tuned", "mle"))
    assert {key for key in {*tuned, *plain} if tuned.get(key) != plain.get(key)} == {
        "name", "train.batch_size", "train.generator_lr", "train.ema",
        "evaluation.every", "evaluation.keep_best",
    }  # fmt: skip
