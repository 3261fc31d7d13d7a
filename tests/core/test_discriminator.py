"""Discriminators and their penalty, against dense one-hot definitions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import one_hot

from core.errors import InputError
from core.interfaces import Discriminator
from core.nn.discriminator_input import HardTokens, mean_difference
from core.nn.regularisation import SCALED_LAYERS, SCALED_WEIGHTS
from core.training.players import as_module, build
from core.training.scoring import double_backward, score
from core.types import END, Embedded, visible
from tests.conftest import tiny
from tests.reference.dense import DenseWords
from variants import registry

V, N, S = 11, 6, 8
FEW = ("discriminator.kernels=[2,3]", "discriminator.filters=[5,6]")
QUIET = {
    "transformer": ("discriminator.name=transformer",),
    "cnn": ("discriminator.name=cnn", "discriminator.dropout=0", *FEW),
    "multi_cnn": (
        "discriminator.name=multi_cnn",
        "discriminator.dropout=0",
        "discriminator.representations=16",
        *FEW,
    ),
    "lstm": ("discriminator.name=lstm", "discriminator.layers=2", "discriminator.dropout=0"),
}
SPECTRAL = ["lstm", "cnn", "multi_cnn"]


def make(*overrides: str) -> Discriminator:
    players = build(tiny(*overrides), registry(), V, torch.device("cpu"))
    assert players.adversary is not None
    return players.adversary.discriminator.double()  # type: ignore[attr-defined, no-any-return]


def words() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    tokens = torch.randint(V, (N, S), generator=rng)
    return tokens, torch.randn(N, S, V, generator=rng, dtype=torch.float64).softmax(-1)


@pytest.mark.parametrize("name", QUIET)
def test_indices_equal_one_hot(name: str) -> None:
    D, (tokens, _) = make(*QUIET[name]), words()
    dense = DenseWords(one_hot(tokens, V).double())
    assert torch.allclose(D(HardTokens(tokens)), D(dense), atol=1e-12)


@pytest.mark.parametrize("hide", [False, True])
@pytest.mark.parametrize("name", QUIET)
def test_gradient_penalty_equals_the_dense_definition(name: str, hide: bool) -> None:
    D, (tokens, soft) = make(*QUIET[name]), words()
    ends = torch.randint(1, S + 1, (N, 1), generator=torch.Generator().manual_seed(2))
    mask = torch.arange(S) < ends if hide else None
    strategy = registry().strategy("penalty", "gradient_penalty")
    penalty = strategy(strategy.Config(weight=10.0))
    real = Embedded.of(HardTokens(tokens, mask), D.embedding)
    fake = Embedded.of(DenseWords(soft, mask), D.embedding)
    eps = torch.rand(N, 1, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    value = penalty(D, real, fake, eps)
    x = (eps * one_hot(tokens, V) + (1 - eps) * soft).requires_grad_(True)
    with double_backward(D):
        scores = score(D, Embedded.of(DenseWords(x, mask), D.embedding)).per_sentence()
        (g,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
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
    assert D(HardTokens(tokens, visible(tokens))).shape == (N,)


@pytest.mark.parametrize("name", QUIET)
def test_hidden_words_do_not_matter(name: str) -> None:
    D, (tokens, _) = make(*QUIET[name]), words()
    tokens[:, 4] = END
    changed = tokens.clone()
    changed[:, 5:] = 0
    mask = visible(tokens)
    assert mask[:, 5:].sum() == 0
    assert torch.allclose(D(HardTokens(tokens, mask)), D(HardTokens(changed, mask)), atol=1e-12)
    assert not torch.allclose(D(HardTokens(tokens)), D(HardTokens(changed)), atol=1e-6)


def test_a_step_score_knows_the_words_so_far() -> None:
    D, (tokens, _) = make(*QUIET["lstm"]), words()
    changed = tokens.clone()
    changed[:, 5] = (tokens[:, 5] + 1) % V
    before, after = D(HardTokens(tokens)), D(HardTokens(changed))
    assert before.shape == (N, S)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.isclose(before[:, 5:], after[:, 5:], atol=1e-9).any()


def test_a_convolution_answers_to_its_strongest_place() -> None:
    """Max over time of relu(W x + b), written out place by place; then highway and a score."""
    D: Any = make(*QUIET["cnn"], "discriminator.kernels=[2,3,20]", "discriminator.filters=[4,5,6]")
    tokens, _ = words()
    x = D.embedding[tokens]  # (N, S, E)
    responses = []
    for k, convolution in zip((2, 3), D.responses.convolutions, strict=True):  # 20 does not fit
        W = convolution.weight.transpose(1, 2).flatten(1)  # (filters, k E)
        places = [x[:, t : t + k].flatten(1) @ W.T + convolution.bias for t in range(S - k + 1)]
        responses.append(torch.stack(places).relu().amax(0))
    c = torch.cat(responses, dim=1)
    g = (c @ D.highway.gate.weight.T + D.highway.gate.bias).sigmoid()
    y = g * D.highway.transform(c).relu() + (1 - g) * c
    assert torch.allclose(D.features(x, None), y, atol=1e-12)
    assert torch.allclose(D(HardTokens(tokens)), D.out(y).squeeze(-1), atol=1e-12)


def test_a_sentences_score_is_the_mean_of_what_it_shows() -> None:
    tokens, _ = words()
    tokens[:, 3] = END
    mask = visible(tokens)
    for name in ("lstm", "multi_cnn"):
        D = make(*QUIET[name])
        scores = score(D, Embedded.of(HardTokens(tokens, mask), D.embedding))
        shown = scores.values[:, :4] if name == "lstm" else scores.values
        few = (tokens[:, :3] == END).any(1)
        assert torch.allclose(scores.per_sentence()[~few], shown[~few].mean(1), atol=1e-12)


def test_every_representation_is_read_by_the_same_convolutions() -> None:
    D: Any = make(*QUIET["multi_cnn"])
    tokens, _ = words()
    scores = D(HardTokens(tokens))
    assert scores.shape == (N, 16)
    order = torch.arange(64).view(16, 4).flip(0).flatten()
    D.embedding.data = D.embedding.data[:, order]
    assert torch.allclose(D(HardTokens(tokens)), scores.flip(1), atol=1e-12)


def test_kernels_that_fit_nowhere_are_refused() -> None:
    with pytest.raises(InputError, match=r"kernels = \[9\].*model.length = 8"):
        make("discriminator.name=cnn", "discriminator.kernels=[9]", "discriminator.filters=[2]")
    with pytest.raises(InputError, match="lists of the same length, not of 2 and 1"):
        tiny("discriminator.name=cnn", "discriminator.kernels=[2,3]", "discriminator.filters=[2]")


@pytest.mark.parametrize("name", ["cnn", "multi_cnn", "lstm"])
def test_a_shorter_batch_is_scored(name: str) -> None:
    D, (tokens, _) = make(*QUIET[name]), words()
    assert len(D(HardTokens(tokens[:, :2]))) == N


def test_dropout_goes_on_where_its_state_was_taken() -> None:
    D, (tokens, _) = make("discriminator.name=lstm"), words()
    first, second = D(HardTokens(tokens)), D(HardTokens(tokens))
    assert not torch.allclose(first, second)
    again = make("discriminator.name=lstm")
    assert torch.equal(again(HardTokens(tokens)), first)
    state = again.state_dict()  # type: ignore[attr-defined]
    resumed = make("discriminator.name=lstm", "seed=5")
    resumed.load_state_dict(state)  # type: ignore[attr-defined]
    assert torch.equal(resumed(HardTokens(tokens)), second)
    resumed.eval()  # type: ignore[attr-defined]
    assert torch.equal(resumed(HardTokens(tokens)), resumed(HardTokens(tokens)))


@pytest.mark.parametrize("name", SPECTRAL)
def test_spectral_norm_makes_every_weight_of_norm_one(name: str) -> None:
    D, (tokens, _) = make(*QUIET[name], "discriminator.spectral_norm=true"), words()
    for _ in range(200):
        D(HardTokens(tokens))
    module = as_module(D)
    found = 0
    for part in module.modules():
        for weight in SCALED_WEIGHTS:
            if isinstance(part, SCALED_LAYERS) and hasattr(part, weight):
                matrix = getattr(part, weight).flatten(1)
                assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1, abs=1e-2)
                found += 1
    assert found > 1


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
    ours = mean_difference(HardTokens(tokens), DenseWords(soft), V)
    assert torch.allclose(ours.double(), expected, atol=1e-6)


def test_a_last_layer_is_kept_small_by_itself() -> None:
    """Steps of Adam are those of the loss with lambda / 2 |w|^2 of that layer in it."""
    given = ("discriminator.name=cnn", "discriminator.dropout=0", "train.beta1=0.5", *FEW)
    tokens, _ = words()

    def step(decay: float, penalty: float) -> dict[str, torch.Tensor]:
        config = tiny(*given, f"discriminator.output_decay={decay}")
        player = build(config, registry(), V, torch.device("cpu")).trainable["discriminator"]
        D: Any = player.module
        for _ in range(3):  # Adam's first is as long for any gradient
            player.optimiser.zero_grad()
            out = D.out.weight.square().sum() + D.out.bias.square().sum()
            (D(HardTokens(tokens)).mean() + penalty / 2 * out).backward()
            player.optimiser.step()
        return dict(as_module(D).named_parameters())

    ours, plain, without = step(3.0, 0.0), step(0.0, 3.0), step(0.0, 0.0)
    assert all(torch.allclose(ours[key], plain[key], atol=1e-9) for key in plain)
    assert not torch.allclose(ours["out.weight"], without["out.weight"], atol=1e-6)
