"""JSDGAN, against plain definitions."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from core.seeding import generator as stream
from tests.variants.system.small import made, stage


def test_jsdgans_loss_is_the_divergence_over_all_sentences() -> None:
    """Three steps of five words, one of which ends: all sentences there are, counted."""
    words, steps = 5, 3
    system = made("jsdgan", words)
    G = system.generator
    ended = [[*x, 2] for t in range(steps) for x in itertools.product((0, 1, 3, 4), repeat=t)]
    open_ended = [list(x) for x in itertools.product((0, 1, 3, 4), repeat=steps)]
    every = ended + open_ended
    data = [[2], [3, 2], [3, 4, 2], [4, 4, 3]]

    def log_q(sentence: list[int]) -> torch.Tensor:
        tokens = torch.tensor([sentence])
        hidden = G.parallel(tokens, G.draw_noise(1, stream(0, "x")))
        log_p = G.head(hidden).log_softmax(-1)[0]
        return log_p[range(len(sentence)), sentence].sum()

    Q = torch.stack([log_q(x) for x in every]).exp()
    P = torch.tensor([1 / len(data) if x in data else 0.0 for x in every], dtype=Q.dtype)
    assert float(Q.sum().detach()) == pytest.approx(1)
    M, held = (P + Q) / 2, P > 0
    expected = ((P[held] * (P[held] / M[held]).log()).sum() + (Q * (Q / M).log()).sum()) / 2
    real = torch.tensor([x + [0] * (steps - len(x)) for x in data])
    value = system.generator_loss(stage(system, real))
    assert 0 < float(value.detach()) < math.log(2)
    assert torch.allclose(value, expected, atol=1e-10)
    weights = list(G.parameters())
    ours, theirs = torch.autograd.grad(value, weights), torch.autograd.grad(expected, weights)
    D = P / (P + Q)
    factors = (Q * (1 - D).log() * held).detach() / 2
    published = torch.autograd.grad(
        (factors * torch.stack([log_q(x) for x in every])).sum(), weights
    )
    for a, b, c in zip(ours, theirs, published, strict=True):
        assert torch.allclose(a, b, atol=1e-10)
        assert torch.allclose(a, c, atol=1e-10)
