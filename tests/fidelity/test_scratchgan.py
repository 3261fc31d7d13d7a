"""ScratchGAN: from scratch, a reward a token, tied embeddings, no clip."""

from __future__ import annotations

from typing import Any

import pytest
import torch

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
    context, (advantages,), _ = prepared(run)  # the baseline is 0 at first
    r = context.masked(context.rewards().values)
    expected = torch.zeros_like(r)
    for t in range(r.shape[1]):
        expected[:, t] = sum(0.23 ** (s - t) * r[:, s] for s in range(t, r.shape[1]))
    assert torch.allclose(advantages, expected, atol=1e-6)


@pytest.mark.fidelity
def test_a_moving_mean_of_earlier_rewards_is_subtracted() -> None:
    """losses.py, reinforce_loss: the mean moves by .92 of the way to that of a batch. Theirs has
    moved before it is subtracted, which is declared.
    """
    run = state(small("scratchgan", "discriminator.dropout=0.0"))
    returns = []
    for _ in range(2):
        context, (advantages,), _ = prepared(run)
        r = discounted(context.masked(context.rewards().values), 0.23)
        returns.append((r, context.mask))
    (before, mask), (r, _) = returns
    assert torch.allclose(advantages, r - 0.92 * before[mask].mean(), atol=1e-6)


@pytest.mark.fidelity
def test_dropout_is_on_the_input_of_d_only() -> None:
    """discriminator_nets.py: tf.nn.dropout on the embedding table, nowhere else."""
    D: Any = state(small("scratchgan")).adversary.discriminator
    assert D.drop_words.rate == 0.1
    assert D.drop_outputs.rate == 0
