"""Words computed step by step and never held are the words held whole, in value and gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from core.kernels.torch import TORCH
from core.nn.discriminator_input import TokenMixture
from core.nn.noise import gumbel_noise
from core.training.loop import Trainer
from core.training.players import build
from core.training.state import TrainingState
from tests.conftest import tiny
from tests.core.largest import Largest
from tests.reference.dense import DenseWords, dense_mixture
from variants import registry

N, S, E, F, V = 6, 5, 4, 3, 23
SEEDS = (11, 12, 13)


def parts(dtype: torch.dtype = torch.float64) -> tuple[Tensor, nn.Linear, Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(N, S, E, dtype=dtype, requires_grad=True)
    head = nn.Linear(E, V, dtype=dtype)
    return hidden, head, torch.randn(V, F, dtype=dtype, requires_grad=True)


def noise(seeds: tuple[int, ...], like: Tensor) -> Tensor | None:
    """Of all steps, (N, S, V)."""
    if not seeds:
        return None
    return torch.stack([gumbel_noise(TORCH, seeds, t, like[:, t]) for t in range(S)], dim=1)


@pytest.mark.parametrize("seeds", [(), SEEDS])
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_mixture_equals_the_dense_definition(seeds: tuple[int, ...], temperature: float) -> None:
    hidden, head, table = parts()
    logits = head(hidden)
    dense = DenseWords(dense_mixture(logits, noise(seeds, logits), temperature))
    mixed = TokenMixture(hidden, head, seeds, temperature)
    assert torch.allclose(mixed.embed(table), dense.embed(table), atol=1e-10)
    assert torch.allclose(mixed.mean(V), dense.mean(V), atol=1e-10)
    weights = torch.randn(N, S, F, dtype=torch.float64)
    wanted = [hidden, head.weight, head.bias, table]
    ours = torch.autograd.grad((mixed.embed(table) * weights).sum(), wanted)
    theirs = torch.autograd.grad((dense.embed(table) * weights).sum(), wanted)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-10)
    assert torch.autograd.gradcheck(
        lambda h, w: TokenMixture(h, head, seeds, temperature).embed(w), (hidden, table)
    )


def test_batches_drawn_together_are_the_same_apart() -> None:
    hidden, head, table = parts()
    whole = TokenMixture(hidden, head, SEEDS, 1.0)
    apart = torch.cat([words.embed(table) for words in whole.chunk(3)])
    assert torch.allclose(whole.embed(table), apart, atol=1e-12)


def test_gumbel_noise_has_the_distribution_and_is_finite() -> None:
    g = gumbel_noise(TORCH, (1,), 0, torch.empty(1000, 1000)).double()
    assert g.isfinite().all()
    assert abs(float(g.mean()) - 0.5772) < 0.005
    assert abs(float(g.var()) - torch.pi**2 / 6) < 0.01
    for quantile in (0.01, 0.5, 0.99, 0.9999):
        expected = -torch.log(-torch.log(torch.tensor(quantile, dtype=torch.float64)))
        assert abs(float((g < expected).double().mean()) - quantile) < 0.0012


class Batches:
    """Random sentences of V words."""

    per_epoch = sentences = 1

    def __init__(self, count: int, length: int, vocabulary: int) -> None:
        self.shape, self.vocabulary = (count, length), vocabulary

    def batch(self, number: int) -> Tensor:
        rng = torch.Generator().manual_seed(number)
        return torch.randint(4, self.vocabulary, self.shape, generator=rng)


@pytest.mark.parametrize(
    "overrides",
    [
        ["sampling.name=detached"],
        ["sampling.name=gumbel_softmax"],
        ["sampling.name=gumbel_softmax", "sampling.feedback=soft"],
        ["sampling.name=straight_through_gumbel", "train.entropy=0.01"],
        ["sampling.name=categorical", "estimator.name=reinforce", "train.entropy=0.01"],
        [
            "sampling.name=categorical",
            "estimator.name=leave_one_out",
            "schedule.name=pretrain",
            "schedule.generator_updates=1",
            "train.updates=2",
        ],
    ],
)
def test_no_step_of_training_holds_n_s_v(overrides: list[str]) -> None:
    """At V = 70,000 the largest tensor is one step's logits of the fakes drawn together."""
    big, count, length = 70_000, 16, 20
    config = tiny(
        "model.length=20", "train.batch_size=16", "train.updates=1", "generator.width=8",
        "discriminator.width=4", *overrides, "schedule.n_d=2",
    )  # fmt: skip
    players = build(config, registry(), big, torch.device("cpu"))
    batches = Batches(count, length, big)
    state = TrainingState(config, players, batches, torch.device("cpu"))  # type: ignore[arg-type]
    trainer = Trainer(state, lambda values, step: None)
    with Largest() as largest:
        trainer.train(lambda: None, lambda: None)
    assert largest.numbers == 2 * count * big
