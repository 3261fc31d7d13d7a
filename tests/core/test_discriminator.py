"""The discriminator and its penalty, against dense one-hot definitions."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import one_hot

from core.nn.attention import twice_differentiable
from core.nn.words import TokenWords, mean_difference, visible
from core.players import build
from core.protocols import Discriminator, Rows
from core.text.vocabulary import END
from tests.conftest import tiny
from tests.reference.dense import DenseWords
from variants import registry

V, N, S = 11, 6, 8


def make(*overrides: str) -> Discriminator:
    players = build(tiny(*overrides), registry(), V, torch.device("cpu"))
    assert players.opponent is not None
    return players.opponent.discriminator.double()  # type: ignore[attr-defined, no-any-return]


def words() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    tokens = torch.randint(V, (N, S), generator=rng)
    return tokens, torch.randn(N, S, V, generator=rng, dtype=torch.float64).softmax(-1)


def test_indices_equal_one_hot() -> None:
    D, (tokens, _) = make(), words()
    dense = DenseWords(one_hot(tokens, V).double())
    assert torch.allclose(D(TokenWords(tokens)), D(dense), atol=1e-12)


@pytest.mark.parametrize("hide", [False, True])
def test_gradient_penalty_equals_the_dense_definition(hide: bool) -> None:
    D, (tokens, soft) = make(), words()
    mask = torch.rand(N, S, generator=torch.Generator().manual_seed(2)) > 0.3 if hide else None
    strategy = registry().strategy("penalty", "gradient_penalty")
    penalty = strategy(strategy.Config(weight=10.0))
    real = Rows.of(TokenWords(tokens, mask), D.embedding)
    fake = Rows.of(DenseWords(soft, mask), D.embedding)
    eps = torch.rand(N, 1, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    value = penalty(D, real, fake, eps)
    x = (eps * one_hot(tokens, V) + (1 - eps) * soft).requires_grad_(True)
    with twice_differentiable():
        (g,) = torch.autograd.grad(D(DenseWords(x, mask)).sum(), x, create_graph=True)
    expected = 10.0 * ((g.flatten(1).norm(dim=1) - 1) ** 2).mean()
    assert torch.allclose(value, expected, atol=1e-10)
    parameters = list(D.parameters())  # type: ignore[attr-defined]
    ours = torch.autograd.grad(value, parameters, allow_unused=True)
    theirs = torch.autograd.grad(expected, parameters, allow_unused=True)
    for a, b in zip(ours, theirs, strict=True):
        # The dense graph reaches a bias through exact zeros that the other does not visit.
        zero = torch.zeros(())
        assert torch.allclose(zero if a is None else a, zero if b is None else b, atol=1e-9)


@pytest.mark.parametrize("pooling", ["none", "avg", "max"])
def test_pooling_halves_the_length_and_scores(pooling: str) -> None:
    D, (tokens, _) = (
        make(f"discriminator.pooling={pooling}", "discriminator.backbone_blocks=2"),
        words(),
    )
    assert D(TokenWords(tokens, visible(tokens))).shape == (N,)


def test_hidden_words_do_not_matter() -> None:
    D, (tokens, _) = make(), words()
    tokens[:, 4] = END
    changed = tokens.clone()
    changed[:, 5:] = 0
    mask = visible(tokens)
    assert mask[:, 5:].sum() == 0
    assert torch.allclose(D(TokenWords(tokens, mask)), D(TokenWords(changed, mask)), atol=1e-12)
    assert not torch.allclose(D(TokenWords(tokens)), D(TokenWords(changed)), atol=1e-6)


def test_visible_keeps_the_first_end_and_rows_without_one() -> None:
    tokens = torch.tensor([[5, END, 6, END], [5, 6, 7, 8], [END, 5, 5, 5]])
    assert visible(tokens).tolist() == [
        [True, True, False, False],
        [True, True, True, True],
        [True, False, False, False],
    ]


def test_mean_difference_equals_its_definition() -> None:
    tokens, soft = words()
    expected = (one_hot(tokens, V).double().mean(0) - soft.mean(0)).abs().sum()
    ours = mean_difference(TokenWords(tokens), DenseWords(soft), V)
    assert torch.allclose(ours.double(), expected, atol=1e-6)
