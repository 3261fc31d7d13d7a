"""IQ-Learn: likelihood with a penalty on temporal differences, at small sizes."""

from __future__ import annotations

import pytest
import torch

from core.types import PAD
from tests.variants.system.conftest import doubles  # noqa: F401
from tests.variants.system.small import made, sentences, stage


@pytest.mark.fidelity
@pytest.mark.usefixtures("doubles")
def test_the_loss_is_garg_et_als_at_expert_states() -> None:
    """-(Q - gamma V') + (V - gamma V') + (Q - gamma V')^2 / (4 alpha), V' = 0 after the end:
    iq_learn/iq.py of Div99/IQ-Learn with loss = value_expert and chi, whose 1 / (4 alpha) is ours.
    """
    system, tokens = made("iq_learn"), sentences()
    tokens[0, 3:] = torch.tensor([2, PAD, PAD, PAD, PAD])
    tokens[:, -1] = torch.where(tokens[:, -1] == PAD, PAD, 2)
    G, gamma, weight = system.generator, system.config.gamma, system.config.penalty
    assert gamma < 1
    assert weight > 0
    Q = G.head(G.parallel(tokens, G.draw_noise(len(tokens), torch.Generator())))
    V = Q.logsumexp(-1)
    terms = []
    for row, (q, v) in enumerate(zip(Q, V, strict=True)):
        length = int((tokens[row] != PAD).sum())
        for t in range(length):
            after = gamma * v[t + 1] if t + 1 < length else 0.0
            reward = q[t, tokens[row, t]] - after
            terms.append(-reward + (v[t] - after) + weight * reward**2)
    expected = torch.stack(terms).mean()
    value = system.generator_loss(stage(system, tokens))
    assert torch.allclose(value, expected, atol=1e-10)
    weights = list(G.parameters())
    for ours, theirs in zip(
        torch.autograd.grad(value, weights), torch.autograd.grad(expected, weights), strict=True
    ):
        assert torch.allclose(ours, theirs, atol=1e-10)


@pytest.mark.fidelity
def test_without_the_penalty_it_is_maximum_likelihood() -> None:
    """The abstract of Wulfmeier et al. 2024: a temporal-difference regularised extension of MLE."""
    system, tokens = made("iq_learn"), sentences()
    system.config = system.config.model_copy(update={"penalty": 0.0})
    context = stage(system, tokens)
    likelihood = system.likelihood_loss(context)
    assert torch.allclose(system.generator_loss(context), likelihood, atol=1e-6)
