"""SentiGAN: a penalty on probabilities, and five steps of G for one of D."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from core.nn.likelihood import log_likelihood
from core.types import Phase
from tests.fidelity.small import SYSTEM_CNN, norms, share, small, state
from tests.variants.system.small import stage


def sentigan() -> Any:
    return state(small("sentigan", *SYSTEM_CNN, "system.completions=1")).players.schedule


@pytest.mark.fidelity
def test_g_takes_five_steps_for_one_of_d() -> None:
    """Wang & Wan 2018, section 4.1: g-steps 5, d-steps 1."""
    system = sentigan()
    first = system.config.generator_updates + system.config.discriminator_updates
    assert share(system, 125, first + 10) == {
        ("generator", "likelihood_loss"): 120 * 125,
        ("discriminator", "discriminator_loss"): 30 * 125 + 10,
        ("generator", "generator_loss"): 50,
    }


@pytest.mark.fidelity
def test_the_loss_is_a_penalty_on_probabilities() -> None:
    """Equations 1 to 3: sum over t of G(x_t | x_<t) V_t, 0 <= V_t <= 1, not its logarithm."""
    system = sentigan()
    real = torch.randint(4, 12, (4, 5))
    draws, sample = [], system.sample_with_grad
    system.sample_with_grad = lambda context: draws.append(sample(context)) or draws[-1]
    system.mc_q_values = lambda draw, *_: torch.zeros(draw.tokens.shape)  # the whole penalty
    loss = system.generator_loss(stage(system, real))
    (draw,) = draws
    p = log_likelihood(draw.hidden, system.generator.head, draw.tokens).exp()
    ended = (draw.tokens == 2).cumsum(1) - (draw.tokens == 2).long() > 0
    assert torch.allclose(loss, (p * ~ended).sum(1).mean())


@pytest.mark.fidelity
def test_ds_last_layer_has_its_l2() -> None:
    """Nrgeup/SentiGAN, Toy_dataset/train.py: dis_l2_reg_lambda .2, keep probability .75."""
    D = sentigan().discriminator
    assert D.out.decay == 0.2
    assert D.dropout.rate == 0.25


@pytest.mark.fidelity
def test_gradients_of_g_are_clipped_at_5_and_those_of_d_are_not() -> None:
    """Nrgeup/SentiGAN, generator.py: grad_clip 5.0, of the mean likelihood and of a sum over 64
    sentences; discriminator.py: no clip.
    """
    few = (*SYSTEM_CNN, "system.completions=1")
    for player, loss, limit in (
        ("generator", "likelihood_loss", 5.0),
        ("generator", "generator_loss", 5 / 64),
        ("discriminator", "discriminator_loss", None),
    ):
        run = state(small("sentigan", *few))
        phase = Phase(
            player, getattr(run.players.schedule, loss), pretraining=loss == "likelihood_loss"
        )
        before, after = norms(run, phase)
        assert before > 5
        assert after == pytest.approx(limit or before, rel=1e-4)
