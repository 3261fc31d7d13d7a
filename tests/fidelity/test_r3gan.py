"""R3GAN: relativistic pairs with gradient penalties on real and on generated sentences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from core.nn.discriminator_input import HardTokens
from core.training.discriminator_step import _drawn_loss
from core.training.players import as_module, build
from core.types import Embedded, Scores
from experiments.loading import load
from tests.core.test_steps import CPU, N, V
from variants import registry

SMALL = ("model.length=8", "generator.width=8", "generator.hidden=8", "discriminator.width=8",
         "discriminator.kernels=[1, 2]", "discriminator.filters=[4, 4]")  # fmt: skip


@pytest.mark.fidelity
def test_the_discriminators_loss_is_relativistic_with_both_penalties() -> None:
    """softplus(-(r - f)) + gamma / 2 (R1 + R2): R3GAN/Trainer.py of brownvc/R3GAN,
    AccumulateDiscriminatorGradients. The input of D is a one-hot token times its embeddings.
    """
    adversary = build(load("r3gan", SMALL), registry(), V, CPU).adversary
    assert adversary is not None
    rng, D = torch.Generator().manual_seed(0), adversary.discriminator
    real, fake = (torch.randn(N, 8, 8, generator=rng) for _ in range(2))
    real, fake = real.requires_grad_(True), fake.requires_grad_(True)
    both = Embedded(real), Embedded(fake)
    loss = _drawn_loss(adversary, D, both)[0] + adversary.penalty(D, *both, None)
    penalties = []
    for x in (real, fake):
        (gradient,) = torch.autograd.grad(D.score(x, None).sum(), x)
        penalties.append((gradient @ D.embedding.T).square().sum((1, 2)))
    pairs = softplus(-(D.score(real, None) - D.score(fake, None)))
    expected = (pairs + 2.0 / 2 * (penalties[0] + penalties[1])).mean()
    assert torch.allclose(loss, expected, rtol=1e-4)
    assert all(float(each.mean()) > 0 for each in penalties)


@pytest.mark.fidelity
def test_the_scale_of_the_embeddings_does_not_evade_the_penalties() -> None:
    """Trainer.py, ZeroCenteredGradientPenalty: of the gradient at what D reads, so of the function
    D. Embeddings three times as large before weights a third as large are the same function.
    """
    adversary = build(load("r3gan", SMALL), registry(), V, CPU).adversary
    assert adversary is not None
    D: Any = adversary.discriminator
    sentences = [HardTokens(torch.randint(4, V, (N, 8))) for _ in range(2)]

    def found() -> tuple[Tensor, Tensor]:
        real, fake = (Embedded.of(each, D.embedding) for each in sentences)
        return D.score(real.values, None), adversary.penalty(D, real, fake, None)

    before = found()
    with torch.no_grad():
        D.embedding *= 3
        for layer in D.responses.convolutions:
            layer.weight /= 3
    for a, b in zip(before, found(), strict=True):
        assert torch.allclose(a, b, rtol=1e-4)


@pytest.mark.fidelity
def test_the_generator_is_compared_with_real_samples() -> None:
    """softplus(-(f - r)), not a loss of f alone: AccumulateGeneratorGradients."""
    adversary = build(load("r3gan", SMALL), registry(), V, CPU).adversary
    assert adversary is not None
    real, fake = torch.tensor([0.5, -1.0, 2.0]), torch.tensor([1.0, 0.0, -3.0])
    loss = adversary.objective.generator(Scores(fake), Scores(real))
    assert torch.allclose(loss, softplus(real - fake).mean())
    assert adversary.objective.relativistic  # so a step of G scores real sentences too


@pytest.mark.fidelity
def test_there_is_no_other_stabiliser() -> None:
    """No normalisation, no dropout, Adam without momentum: Networks.py and train.py (betas 0, ...)
    of brownvc/R3GAN.
    """
    config = load("r3gan", SMALL)
    players = build(config, registry(), V, CPU)
    for player in players.trainable.values():
        kinds = {type(part).__name__ for part in as_module(player.module).modules()}
        assert not [kind for kind in kinds if "Norm" in kind]
        assert all(getattr(part, "rate", 0) == 0 for part in player.module.modules())
        assert not any(isinstance(part, nn.Dropout) for part in player.module.modules())
        assert player.optimiser.param_groups[0]["betas"][0] == 0
    assert config.train.clip is None
