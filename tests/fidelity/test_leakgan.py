"""LeakGAN: goals in blocks, of norm 1 in the worker, one reward of the manager a block."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.fidelity.small import SYSTEM_CNN, share, small, state
from tests.variants.system.small import stage

N, S, c = 4, 8, 4


def leakgan() -> Any:
    config = small("leakgan", *SYSTEM_CNN, f"model.length={S}", "system.completions=1")
    return state(config).players.schedule


@pytest.mark.fidelity
def test_the_embedded_goal_has_norm_1_and_stays_for_a_block() -> None:
    """CR-Gjx/LeakGAN, LeakGANModel.py: w_g = l2_normalize(real_goal x g_change), and real_goal is
    replaced after every step_size = 4 steps.
    """
    system = leakgan()
    G, k = system.generator, system.config.goal
    assert system.config.horizon == c
    hidden = G.states(torch.randint(4, 12, (N, S))).hidden
    w = hidden.view(N, S, -1, k)[:, :, -1]  # [o; 1] times w: its last row is w
    assert torch.allclose(w.norm(dim=-1), torch.ones(N, S), atol=1e-5)
    assert torch.allclose(w[:, :c], w[:, :1].expand(-1, c, -1), atol=1e-6)
    assert torch.allclose(w[:, c:], w[:, c : c + 1].expand(-1, c, -1), atol=1e-6)
    assert not torch.allclose(w[:, 0], w[:, c])


@pytest.mark.fidelity
def test_the_manager_has_one_reward_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Main.py, get_reward: completions after 4, 8, ... tokens; (S / 4) rewards a sentence."""
    system, seen = leakgan(), []
    ranked = system.ranked

    def watched(values: Tensor) -> Tensor:
        seen.append(values)
        return ranked(values)

    monkeypatch.setattr(system, "ranked", watched)
    context = stage(system, torch.randint(4, 12, (N, S)))
    system.generator_loss(context)
    assert seen[0].shape == (N, S // c)
    states = system.generator.states(torch.randint(4, 12, (N, S)))
    assert system.transitions(states, torch.ones(N, S, dtype=torch.bool)).shape == (N, S // c)


@pytest.mark.fidelity
def test_d_has_neither_dropout_nor_l2() -> None:
    """Main.py: dis_dropout_keep_prob 1.0; dis_l2_reg_lambda .2 is not passed to the discriminator,
    whose default is 0.
    """
    system = leakgan()
    assert system.discriminator.dropout.rate == 0
    assert system.discriminator.out.decay == 0


@pytest.mark.fidelity
def test_likelihood_comes_back_every_15_updates() -> None:
    """No Temperature/Image COCO/Main.py: every 15 rounds num_batch / 15 batches of likelihood."""
    system = leakgan()
    steps = share(system, 125, system.config.generator_updates + 30)
    assert steps["generator", "likelihood_loss"] == 80 * 125 + 2 * 8
    assert steps["generator", "generator_loss"] == 28
