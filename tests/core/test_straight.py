"""Straight-through words against the definition with whole distributions: hard + p - sg(p)."""

from __future__ import annotations

import pytest
import torch

from core.kernels.torch import TORCH
from core.nn.discriminator_input import StraightThroughTokens, TokenMixture
from core.nn.noise import gumbel_noise
from tests.reference.dense import dense_mixture

V, N, S, E = 7, 4, 3, 5


@pytest.mark.parametrize(("seeds", "tau"), [((), 1.0), ((11, 12), 0.5)])
def test_value_is_hard_and_gradient_is_soft(seeds: tuple[int, ...], tau: float) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(N, S, E, dtype=torch.float64, requires_grad=True)
    head = torch.nn.Linear(E, V, dtype=torch.float64)
    table = torch.randn(V, 2, dtype=torch.float64, requires_grad=True)
    tokens, weights = torch.randint(V, (N, S)), torch.randn(N, S, 2, dtype=torch.float64)
    logits = head(hidden)
    noise = None
    if seeds:
        noise = torch.stack([gumbel_noise(TORCH, seeds, t, logits[:, t]) for t in range(S)], dim=1)
    p = dense_mixture(logits, noise, tau)
    hard = torch.nn.functional.one_hot(tokens, V).to(p)
    plain = (hard + p - p.detach()) @ table
    ours = StraightThroughTokens(tokens, TokenMixture(hidden, head, seeds, tau)).embed(table)
    assert torch.allclose(ours, plain, atol=1e-12)
    wanted = [hidden, head.weight, head.bias, table]
    for a, b in zip(
        torch.autograd.grad((ours * weights).sum(), wanted),
        torch.autograd.grad((plain * weights).sum(), wanted),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=1e-10)
    mask = torch.arange(S) < torch.randint(1, S + 1, (N, 1))
    masked = StraightThroughTokens(tokens, TokenMixture(hidden, head, seeds, tau, mask))
    assert torch.allclose(masked.mean(V).double(), (hard * mask[..., None]).mean(0))
    chunks = StraightThroughTokens(tokens, TokenMixture(hidden, head, seeds, tau)).chunk(2)
    assert torch.equal(torch.cat([c.embed(table) for c in chunks]), ours)
