"""CoT: G descends an exact divergence from a mediator; no likelihood of G, no discriminator."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from core.nn.likelihood import negative_log_likelihood
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
def test_the_mediator_learns_real_and_generated_text_alike() -> None:
    """mediator.py: likelihood_loss, half that of a real batch and half that of a generated one."""
    system: Any = state(small("cot", "system.mediator_dropout=0.0")).players.schedule
    draws, sample = [], system.sample
    system.sample = lambda context: draws.append(sample(context)) or draws[-1]
    real, M = torch.randint(4, 12, (4, 5)), system.mediator
    loss = system.mediator_loss(stage(system, real))
    drawn = draws[0].tokens
    ended = (drawn == 2).cumsum(1) - (drawn == 2).long() > 0
    nats = []
    for tokens, hidden_part in ((real, torch.zeros_like(ended)), (drawn, ended)):
        hidden = M.parallel(tokens, M.draw_noise(len(tokens), torch.Generator()))
        # Their code has no padding: token 0 is a word as any other.
        each = negative_log_likelihood(hidden, M.head, tokens, ignore_index=-100)
        nats.append(each.masked_fill(hidden_part, 0).sum(1).mean())
    assert torch.allclose(loss, (nats[0] + nats[1]) / 2, rtol=1e-5)
    loss.backward()
    assert all(weight.grad is None for weight in system.generator.parameters())


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
