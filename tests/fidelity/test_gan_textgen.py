"""The original gan_textgen (docs/original.md)."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from core.config import Config, override, parse
from core.interfaces import SamplingSpec
from core.seeding import generator as stream
from core.training.players import build
from core.training.rollout import sample_with_grad
from core.types import Progress
from experiments.loading import load
from variants import registry

V, N, S = 12, 6, 5


def small(system: str, length: int = S) -> Config:
    """The system with narrow layers."""
    sizes = [f"model.length={length}", "generator.width=4", "generator.heads=2",
             "generator.hidden=4", "discriminator.width=4", "discriminator.heads=2",
             "discriminator.hidden=4"]  # fmt: skip
    return parse(override(load(system).tables(), sizes), registry())


@pytest.mark.fidelity
def test_argmax_is_fed_back_without_gradient_and_d_sees_the_distribution() -> None:
    """All randomness is in the noise: the same noise gives the same tokens, and hidden states do
    not depend on the output layer.
    """
    players = build(small("gan_textgen"), registry(), V, torch.device("cpu"))
    G, spec = players.generator, SamplingSpec(players.sampling)
    draw = sample_with_grad(G, spec, N, stream(0, "noise"))
    hotter = SamplingSpec(players.sampling, temperature=5.0)
    assert torch.equal(draw.tokens, sample_with_grad(G, hotter, N, stream(0, "noise")).tokens)
    logits = G.head(draw.hidden)
    assert torch.equal(draw.tokens, logits.argmax(-1))
    (gradient,) = torch.autograd.grad(
        draw.hidden.sum(), [G.head.weight], allow_unused=True, materialize_grads=True
    )
    assert not gradient.any()
    seen = draw.d_input.embed(torch.eye(V))
    assert torch.allclose(seen, logits.softmax(-1), atol=1e-6)


@pytest.mark.fidelity
def test_five_steps_of_d_with_a_penalty_of_ten_for_one_of_g() -> None:
    """WGAN-GP as in Gulrajani et al. 2017, algorithm 1: n_D 5, lambda 10, Adam 1e-4 (0, .9)."""
    config = load("gan_textgen")
    schedule: Any = registry().strategy("schedule", "adversarial")(config.schedule)
    phases = [(phase.player, phase.repeats) for phase in schedule.phases(Progress(0, {}))]
    assert phases == [("discriminator", 5), ("generator", 1)]
    assert config.penalty.weight == 10  # type: ignore[union-attr]
    train = config.train
    assert (train.beta1, train.beta2, train.generator_lr) == (0.0, 0.9, 1e-4)
