"""DPGAN: D is a language model, its surprise the reward."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from core.nn.likelihood import log_likelihood
from core.types import Progress
from tests.fidelity.small import share, small, state
from tests.variants.system.small import stage


def dpgan() -> Any:
    config = small("dpgan", "system.width=8", "system.discriminator_width=8")
    return state(config).players.schedule


@pytest.mark.fidelity
def test_real_text_does_not_move_d() -> None:
    """lancopku/DPGAN, batcher_discriminator.py: the weight of real text is -.0001 in an array of
    integers, so 0; D's loss is the mean surprise of generated text, which is bounded below.
    """
    system = dpgan()
    losses = [
        system.discriminator_loss(stage(system, torch.randint(4, 12, (4, 5)))).item()
        for _ in range(2)
    ]
    assert losses[0] == losses[1]
    assert losses[0] > 0


def surprise(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """-log p (N, S) of each token, 0 after the end."""
    visible = ((tokens == 2).cumsum(1) - (tokens == 2).long() == 0).float()
    noise = model.draw_noise(len(tokens), torch.Generator())
    return -log_likelihood(model.parallel(tokens, noise), model.head, tokens) * visible


@pytest.mark.fidelity
@pytest.mark.parametrize("sure", [1.0, 50.0])
def test_surprise_is_worth_a_thousandth_of_what_it_is_in_teacher_forcing(sure: float) -> None:
    """main.py, run_train_generator; model.py, reward_loss: -log G of each token times its reward, a
    constant that D gives: its surprise in nats, at most 12, over 10,000. Real text: over 10, and 1
    above 12. batcher.py: padding has no weight, before the end neither. Means over all visible
    tokens, theirs with padding, are declared.
    """
    system = dpgan()
    draws, sample = [], system.sample_with_grad
    system.sample_with_grad = lambda context: draws.append(sample(context)) or draws[-1]
    G, D = system.generator, system.discriminator
    with torch.no_grad():
        D.head.weight *= sure  # with 50 there are surprises on both sides of 12
    real = torch.randint(4, 12, (4, 5))
    loss = system.generator_loss(stage(system, real))
    tokens = draws[0].tokens
    visible = ((tokens == 2).cumsum(1) - (tokens == 2).long() == 0).float() * (tokens != 0)
    r = surprise(D, tokens).detach()
    expected = (r.clamp(max=12) / 10_000 * surprise(G, tokens) * visible).sum() / visible.sum()
    assert torch.allclose(loss, expected, rtol=1e-4)
    loss.backward()
    assert all(weight.grad is None for weight in D.parameters())
    r = surprise(D, real).detach()
    assert bool((r > 12).any()) == (sure > 1)
    weights = torch.where(r > 12, 1.0, r / 10)
    expected = (weights * surprise(G, real)).mean()
    assert torch.allclose(system.teacher_loss(stage(system, real)), expected, rtol=1e-4)


@pytest.mark.fidelity
def test_every_step_on_rewards_is_followed_by_teacher_forcing() -> None:
    """main.py, run_train_generator: one step on generated text, one on real text."""
    system = dpgan()
    first = system.config.generator_updates + system.config.discriminator_updates
    assert [phase.loss.__name__ for phase in system.phases(Progress(first, {}))] == [
        "discriminator_loss",
        "generator_loss",
        "teacher_loss",
    ]
    steps = share(system, 125, first + 10)
    assert steps["generator", "likelihood_loss"] == 10 * 125
    assert steps["generator", "teacher_loss"] == 10
    assert steps["discriminator", "discriminator_loss"] == 25 * 125 + 10
