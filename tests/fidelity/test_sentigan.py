"""SentiGAN: a penalty on probabilities, and five steps of G for one of D."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from core.nn.likelihood import log_likelihood
from tests.fidelity.small import SYSTEM_CNN, share, small, state
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
