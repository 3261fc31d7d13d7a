"""CoT: G descends an exact divergence from a mediator; no likelihood of G, no discriminator."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.fidelity.small import share, small, state
from tests.variants.system.small import stage


@pytest.mark.fidelity
def test_g_is_at_its_optimum_where_the_mediator_is_g() -> None:
    """Lu et al. 2019; desire2020/CoT, generator.py: g_loss = sum of G (log G - log M) over all
    next tokens, which is a divergence: 0 for M = G, where a score function would still have noise.
    """
    system: Any = state(small("cot", "system.mediator_width=32")).players.schedule
    context = stage(system, torch.randint(4, 12, (4, 5)))
    assert system.generator_loss(context).item() > 0
    system.mediator.load_state_dict(system.generator.state_dict())
    loss = system.generator_loss(stage(system, torch.randint(4, 12, (4, 5))))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    gradients = [p.grad for p in system.generator.parameters() if p.grad is not None]
    assert max(float(gradient.abs().max()) for gradient in gradients) < 1e-6


@pytest.mark.fidelity
def test_one_step_of_each_from_scratch() -> None:
    """cot.py: PRE_EPOCH_NUM 0, then one step of G and one of the mediator."""
    assert share(state(small("cot")).players.schedule, 125, 10) == {
        ("mediator", "mediator_loss"): 10,
        ("generator", "generator_loss"): 10,
    }


@pytest.mark.fidelity
def test_the_mediator_learns_three_times_as_fast_as_g() -> None:
    """generator.py: Adam 1e-3, beta2 .95; cot.py: the mediator 3e-3 and dropout .5. Both rates are
    ten times as large here, which is declared.
    """
    players = state(small("cot")).players
    G, M = (players.trainable[name] for name in ("generator", "mediator"))
    assert M.lr == pytest.approx(3 * G.lr)
    assert G.optimiser.defaults["betas"] == (0.9, 0.95)
    assert M.module.dropout == 0.5
