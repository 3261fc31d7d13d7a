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


@pytest.mark.fidelity
def test_a_reward_is_a_surprise_without_an_upper_bound() -> None:
    """Xu et al. 2018: r_t = -log D(x_t | x_<t), which a classifier would bound."""
    system = dpgan()
    rewards = torch.tensor([[1.0, 2.0, 3.0]])
    values = system.q_values(rewards, torch.ones(1, 3, dtype=torch.bool))
    assert values.tolist() == [[12.0, 10.0, 6.0]]  # 2, the mean, times the sum from t on


@pytest.mark.fidelity
def test_tokens_that_surprise_d_become_likely() -> None:
    """main.py, run_train_generator, model.py, reward_loss: -log G of each token times its reward, a
    constant that D gives; Q_t of Xu et al. 2018 here.
    """
    system = dpgan()
    draws, sample = [], system.sample_with_grad
    system.sample_with_grad = lambda context: draws.append(sample(context)) or draws[-1]
    loss = system.generator_loss(stage(system, torch.randint(4, 12, (4, 5))))
    tokens, G, D = draws[0].tokens, system.generator, system.discriminator
    visible = ((tokens == 2).cumsum(1) - (tokens == 2).long() == 0).float()

    def surprise(model: Any) -> torch.Tensor:
        noise = model.draw_noise(len(tokens), torch.Generator())
        return -log_likelihood(model.parallel(tokens, noise), model.head, tokens) * visible

    r = surprise(D).detach()
    to_come = r.flip(1).cumsum(1).flip(1)
    values = r.sum(1, keepdim=True) / visible.sum(1, keepdim=True) * to_come
    assert torch.allclose(loss, (values * surprise(G)).sum(1).mean(), rtol=1e-4)
    loss.backward()
    assert all(weight.grad is None for weight in D.parameters())


@pytest.mark.fidelity
def test_every_step_on_rewards_is_followed_by_teacher_forcing() -> None:
    """main.py, run_train_generator: one step on generated text, one on real text."""
    system = dpgan()
    first = system.config.generator_updates + system.config.discriminator_updates
    assert [phase.loss.__name__ for phase in system.phases(Progress(first, {}))] == [
        "discriminator_loss",
        "generator_loss",
        "likelihood_loss",
    ]
    steps = share(system, 125, first + 10)
    assert steps["generator", "likelihood_loss"] == 10 * 125 + 10
    assert steps["discriminator", "discriminator_loss"] == 25 * 125 + 10
