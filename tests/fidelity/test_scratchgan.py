"""ScratchGAN: from scratch, a reward a token, tied embeddings, no clip."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from core.training.loop import train_phase
from core.types import Phase
from tests.fidelity.small import norms, prepared, share, small, state
from variants.estimator import discounted


@pytest.mark.fidelity
def test_no_step_is_one_of_likelihood() -> None:
    """de Masson d'Autume et al. 2019; experiment.py: one step of D and one of G, 200,000 times."""
    assert share(state(small("scratchgan")).players.schedule, 10, 7) == {
        ("discriminator", "adversarial"): 7,
        ("generator", "adversarial"): 7,
    }


@pytest.mark.fidelity
def test_input_and_output_embeddings_are_one_table() -> None:
    """generators.py: one variable for both, with a projection to the LSTM and, for one layer, its
    transpose back.
    """
    run = state(small("scratchgan"))
    G: Any = run.players.generator
    assert G.head.weight is G.embedding.weight
    assert sum(p.shape == G.embedding.weight.shape for p in G.parameters()) == 1
    assert G.body.project.weight.shape == (128, 64)


@pytest.mark.fidelity
def test_gradients_are_not_clipped() -> None:
    """experiment.py: `minimize` of both losses, nothing in between."""
    before, after = norms(state(small("scratchgan")), Phase("generator", "adversarial"))
    assert after == pytest.approx(before, rel=1e-5)


@pytest.mark.fidelity
def test_a_token_is_rewarded_for_the_tokens_after_it() -> None:
    """losses.py, reinforce_loss: r = 2 sigma(D) - 1 at every step, R_t = sum of .23^(s - t) r_s."""
    run = state(small("scratchgan", "discriminator.dropout=0.0"))
    context, (advantages,), _ = prepared(run)
    r = context.masked(context.rewards().values)
    expected = torch.zeros_like(r)
    for t in range(r.shape[1]):
        expected[:, t] = sum(0.23 ** (s - t) * r[:, s] for s in range(t, r.shape[1]))
    advantages = advantages + expected[context.mask].mean()  # of this batch alone at first
    assert torch.allclose(advantages, expected, atol=1e-6)


@pytest.mark.fidelity
def test_a_moving_mean_of_rewards_is_subtracted_after_it_has_moved() -> None:
    """losses.py, reinforce_loss: the mean moves by .92 of the way to that of a batch, and is then
    subtracted from the batch. Its mean over visible tokens, corrected for the zero at the start, is
    declared.
    """
    run = state(small("scratchgan", "discriminator.dropout=0.0"))
    returns = []
    for _ in range(2):
        context, (advantages,), _ = prepared(run)
        r = discounted(context.masked(context.rewards().values), 0.23)
        returns.append((r, context.mask))
    first, second = (r[mask].mean() for r, mask in returns)
    mean = 0.92 * (0.08 * first + second) / (1 - 0.08**2)
    assert torch.allclose(advantages, returns[1][0] - mean, atol=1e-6)


@pytest.mark.fidelity
def test_dropout_is_on_the_input_of_d_only() -> None:
    """discriminator_nets.py: tf.nn.dropout on the embedding table, nowhere else."""
    D: Any = state(small("scratchgan")).adversary.discriminator
    assert D.drop_words.rate == 0.1
    assert D.drop_outputs.rate == 0


@pytest.mark.fidelity
def test_positions_are_cosines_between_2_and_the_length() -> None:
    """utils.py, get_position_signal: cos(pi (t / period + shift)), periods from 2 to the length in
    equal ratios, shifts from 0 to 2.
    """
    D: Any = state(small("scratchgan", "model.length=20")).adversary.discriminator
    for t, j in ((0, 0), (0, 4), (3, 2), (19, 7)):
        period, shift = 2 * 10 ** (j / 7), 2 * j / 7
        expected = math.cos(math.pi * (t / period + shift))
        assert float(D.positions[t, j]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.fidelity
def test_the_l2_penalty_has_its_weight_beside_the_loss() -> None:
    """experiment.py: 1e-6 beside half the sum of the losses of real and of generated text, which is
    log 2 where D says nothing.
    """
    run = state(small("scratchgan"))
    with torch.no_grad():
        run.adversary.discriminator.out.weight.zero_()  # type: ignore[attr-defined]
        run.adversary.discriminator.out.bias.zero_()  # type: ignore[attr-defined]
    train_phase(run, Phase("discriminator", "adversarial"))
    (group,) = run.players.trainable["discriminator"].optimiser.param_groups
    weight = group["weight_decay"] / run.metrics["train/discriminator_loss"]
    assert weight == pytest.approx(1e-6 / math.log(2), rel=1e-4)
