"""Diagnoses are what they say, and looking changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.nn.likelihood import entropy
from core.tracking.memory import MemoryTracker
from core.training.diagnostics import batch_gradients, calibration_error, signal_and_noise
from core.training.players import as_module
from core.training.rollout import sample_with_grad
from core.types import visible
from experiments.single_run.run import run
from tests.conftest import tiny
from tests.variants.test_baselines import DENSE
from tests.variants.test_group_relative import state_of


def test_a_calibrated_score_has_no_error_and_a_sure_one_has_its_share_of_mistakes() -> None:
    rng = torch.Generator().manual_seed(0)
    odds = torch.randn(400_000, generator=rng)
    is_real = torch.rand(400_000, generator=rng) < odds.sigmoid()
    # As many real as drawn here, as the measure takes them to be.
    assert calibration_error(odds[is_real], odds[~is_real]) < 0.01
    sure = torch.full((100,), 50.0)
    assert calibration_error(sure, sure) == pytest.approx(0.5)
    assert calibration_error(sure, -sure) == pytest.approx(0.0)


def test_signal_is_corrected_for_the_noise_that_is_left() -> None:
    rng = torch.Generator().manual_seed(0)
    mean = torch.zeros(200_000, dtype=torch.float64)
    mean[0] = 30.0
    found = mean + torch.randn(4, 200_000, generator=rng, dtype=torch.float64)
    signal, noise = signal_and_noise(found)
    assert noise == pytest.approx(200_000**0.5, rel=0.01)
    assert found.mean(0).norm() > 200  # what is measured without the correction
    assert signal < 60


def test_gradients_are_of_the_whole_loss_with_its_entropy_bonus() -> None:
    state = state_of("estimator.name=leave_one_out")
    generator, spec = state.players.generator, state.sampling_spec()
    as_module(state.adversary.discriminator).eval()  # without dropout

    def gradient(weight: float) -> torch.Tensor:
        rng = torch.Generator().manual_seed(5)
        own = state.adversary, generator, spec, state.last_tokens(), rng
        return next(batch_gradients(1, *own, weight))

    rng = torch.Generator().manual_seed(5)
    draw = sample_with_grad(generator, spec, len(state.last_tokens()), rng)
    shown = visible(draw.tokens)
    entropies = (entropy(draw.hidden, generator.head) * shown).sum(1)
    weights = [p for p in as_module(generator).parameters() if p.requires_grad]
    parts = torch.autograd.grad(entropies.mean(), weights, materialize_grads=True)
    bonus = torch.cat([part.flatten() for part in parts])
    assert torch.allclose(gradient(0.0) - gradient(0.5), 0.5 * bonus, atol=1e-6)
    assert bonus.abs().max() > 1e-3


def test_a_run_logs_them_and_is_the_same_without(tmp_path: Path) -> None:
    shared = (*DENSE, "train.updates=4")
    tracker = MemoryTracker(tmp_path)
    looked = run(tiny(*shared, "evaluation.gradients=2"), tracker=tracker)
    blind = run(tiny(*shared, "evaluation.every=4"), tracker=MemoryTracker(tmp_path / "blind"))
    assert looked.metrics == blind.metrics
    for name in ("next_word_entropy", "effective_vocabulary", "d_auc", "d_accuracy",
                 "d_calibration_error", "g_gradient_norm", "g_signal_to_noise"):  # fmt: skip
        curve = tracker.history(looked.run_id, f"diagnosis/{name}")
        assert [step for step, _ in curve] == [0, 2, 4]


def test_a_collapsed_run_stops_early_and_says_why(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    config = tiny(
        "sampling.name=detached",  # with nothing drawn, every sentence is the same
        "next_input.name=fixed_token",
        "noise_mapping.name=none",
        "generator.noise_blocks=0",
        "train.updates=20",
        "evaluation.every=2",
        "evaluation.collapse_patience=2",
    )
    result = run(config, tracker=tracker)
    assert (result.outcome, result.updates) == ("collapsed", 4)
    (record,) = tracker.runs()
    assert record.outcome == "collapsed"
