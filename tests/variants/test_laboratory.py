"""Every estimator's mean is within its confidence interval of the exact gradient that it states."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.experiments.test_cli import textgan
from variants import registry
from variants.laboratory import exact
from variants.laboratory.exact import gumbel_nodes
from variants.laboratory.measure import SETUPS, Setup, measure
from variants.laboratory.toy import ToyGenerator

DRAWS = 100  # enough to tell every biased target from the sequence one
LABELS = [setup.label for setup in SETUPS]
UNBIASED = {"reinforce", "leave_one_out", "rollout, 4 completions", "rank, 4 completions",
            "group_relative, not standardised", "cold", "cold, nucleus"}  # fmt: skip


@pytest.mark.parametrize("setup", SETUPS, ids=LABELS)
def test_the_mean_is_the_stated_target(setup: Setup) -> None:
    row = measure(registry(), setup, steps=2, draws=DRAWS)
    assert row.agrees, row
    if setup.label in UNBIASED:
        assert row.bias < 1e-10
        assert row.angle < 1e-4


ENDING = [setup for setup in SETUPS if setup.sampling == "categorical"][::2]


@pytest.mark.parametrize("setup", ENDING, ids=[setup.label for setup in ENDING])
def test_also_for_sentences_that_end(setup: Setup) -> None:
    """Three steps; what follows the end is hidden from D and has no part in the gradient."""
    row = measure(registry(), setup, steps=3, draws=DRAWS, mask_after_eos=True)
    assert row.agrees, row


def test_a_wrong_target_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interval is narrow enough to tell the discounted gradient from the sequence one."""
    (setup,) = [s for s in SETUPS if s.label == "dense_reinforce, gamma .23"]
    monkeypatch.setitem(exact.TARGETS, "discounted", exact.sequence)  # type: ignore[arg-type]
    assert not measure(registry(), setup, steps=2, draws=DRAWS).agrees


def test_every_estimator_is_in_the_laboratory() -> None:
    assert {setup.estimator for setup in SETUPS} == set(registry().names("estimator"))
    pathwise = {setup.sampling for setup in SETUPS if setup.estimator == "pathwise"}
    assert pathwise == set(registry().names("sampling")) - {"categorical"}


def test_nodes_of_gumbel_noise_have_its_law() -> None:
    logits = torch.tensor([[0.3, -0.5, 1.0]], dtype=torch.float64)
    noise, weights = gumbel_nodes(logits, 16)
    assert math.isclose(float(weights.sum()), 1.0, abs_tol=1e-12)
    noisy = logits[:, None] + noise
    won = torch.zeros(3, dtype=torch.float64)
    won.index_add_(0, noisy[0].argmax(-1), weights[0])
    assert torch.allclose(won, logits[0].softmax(0), atol=1e-12)
    drawn = (
        -torch.empty(400_000, 3, dtype=torch.float64)
        .exponential_(generator=torch.Generator().manual_seed(0))
        .log()
    )
    simulated = ((logits + drawn) / 0.5).softmax(-1)
    for power in (1, 2):
        exact = (weights[0, :, None] * (noisy[0] / 0.5).softmax(-1) ** power).sum(0)
        assert torch.allclose(exact, (simulated**power).mean(0), atol=3e-3)


def test_two_steps_of_the_small_language_can_be_any() -> None:
    generator = ToyGenerator(2)
    tokens = torch.tensor([[0, 1], [1, 1], [2, 1]])
    hidden = generator.parallel(tokens, generator.draw_noise(3, torch.Generator()))
    table = generator.first[1] + generator.later[1, 0]  # a row for each first word
    assert torch.equal(hidden[:, 1], table)


def test_the_command_prints_the_table_and_plots_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = textgan(
        "variants", "gradients", "--draws", "10", "--output", "f", capsys=capsys
    )
    assert code == 0, err
    assert all(label in out for label in LABELS)
    assert Path("f/gradients.png").stat().st_size > 10_000
