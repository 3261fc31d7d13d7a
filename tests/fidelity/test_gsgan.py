"""GSGAN: what makes it a GAN with Gumbel-softmax sequences."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from core.config import override, parse
from core.interfaces import SamplingSpec
from core.seeding import generator as stream
from core.training.players import build
from core.training.rollout import sample_with_grad
from experiments.loading import load
from variants import registry

V, N, S = 12, 6, 5


@pytest.mark.fidelity
@pytest.mark.parametrize("feedback", ["soft", "hard"])
def test_the_gradient_passes_through_the_whole_rollout(feedback: str) -> None:
    """Kusner & Hernandez-Lobato 2016: softmax((l + g) / tau) is what the next step reads, so the
    last hidden state depends on the output layer. With hard feedback (RelGAN) it does not.
    """
    tables = load("gsgan").tables()
    assert tables["sampling"] == {"name": "gumbel_softmax", "feedback": "soft"}
    small = [f"model.length={S}", "generator.width=4", "discriminator.width=4",
             "discriminator.hidden=4", f"sampling.feedback={feedback}"]  # fmt: skip
    players = build(parse(override(tables, small), registry()), registry(), V, torch.device("cpu"))
    G: Any = players.generator
    draw = sample_with_grad(G, SamplingSpec(players.sampling), N, stream(0, "noise"))
    (gradient,) = torch.autograd.grad(
        draw.hidden[:, -1].sum(), [G.head.weight], allow_unused=True, materialize_grads=True
    )
    assert bool(gradient.any()) == (feedback == "soft")


@pytest.mark.fidelity
def test_each_sentence_begins_with_a_latent() -> None:
    """The generator maps random vectors to sequences (abstract and section 1)."""
    small = override(load("gsgan").tables(), [f"model.length={S}", "generator.width=4"])
    players = build(parse(small, registry()), registry(), V, torch.device("cpu"))
    noise = players.generator.draw_noise(N, stream(0, "noise"))
    assert noise.inputs is not None
    assert noise.inputs.shape == (N, 1, 4)
    assert len(noise.inputs.unique(dim=0)) == N
