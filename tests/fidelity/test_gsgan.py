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
from tests.fidelity import small as tools
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


@pytest.mark.fidelity
def test_g_is_trained_through_d_with_the_minimax_loss() -> None:
    """The loss is our choice, and what the table says: E log(1 - D), by the gradient of D's scores
    of relaxed tokens, one step of D for one of G, at temperatures from 1 to 1/5.
    """
    sizes = ["generator.width=4", "discriminator.width=4", "discriminator.hidden=4",
             "discriminator.dropout=0"]  # fmt: skip
    run = tools.state(tools.small("gsgan", *sizes))
    context, prepared, _ = tools.prepared(run)
    scores = context.scores()
    assert scores.mask is not None
    expected = ((1 - scores.values.sigmoid()).log() * scores.mask).sum(1) / scores.mask.sum(1)
    loss = run.adversary.estimator.loss(context, prepared)
    assert float(loss.detach()) == pytest.approx(float(expected.mean().detach()), rel=1e-5)
    assert run.metrics["train/generator_gradient_norm"] > 0
    steps = {("discriminator", "adversarial"): 4, ("generator", "adversarial"): 4}
    assert tools.share(run.players.schedule, per_epoch=2, updates=4) == steps
    beta = [1 / run.players.temperature(progress) for progress in (0.0, 0.5, 1.0)]
    assert beta == pytest.approx([1.0, 3.0, 5.0])
