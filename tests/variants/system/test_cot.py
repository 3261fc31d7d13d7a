"""CoT, against plain definitions."""

from __future__ import annotations

import pytest
import torch

from core.seeding import Streams
from core.seeding import generator as stream
from core.training.rollout import sample
from tests.variants.system.small import CPU, N, made, sentences, stage


def test_cot_descends_the_sum_over_all_words_at_each_drawn_prefix() -> None:
    system = made("cot")
    here = stage(system, sentences())
    value = system.generator_loss(here)
    draw = sample(system.generator, here.spec, N, Streams(0, CPU)["noise"])
    G = system.generator.head(system.generator.parallel(draw.tokens, draw.noise))
    M = system.mediator.head(system.mediator.parallel(draw.tokens, draw.noise))
    log_g, log_m = G.log_softmax(-1), M.log_softmax(-1).detach()
    ended = (draw.tokens == 2).cumsum(1) - (draw.tokens == 2).long() > 0
    nats = (log_g.exp() * (log_g - log_m)).sum(-1).masked_fill(ended, 0)
    assert torch.allclose(value, nats.sum(1).mean(), atol=1e-10)
    weights = list(system.generator.parameters())
    ours = torch.autograd.grad(value, weights)
    theirs = torch.autograd.grad(nats.sum(1).mean(), weights)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-10)
    assert all(p.grad is None for p in system.mediator.parameters())


def test_the_mediator_learns_a_padding_token_that_was_drawn() -> None:
    """G is compared with it there, so without it the divergence would have no bound."""
    system = made("cot")
    with torch.no_grad():
        system.generator.head.bias[0] += 3  # G draws padding
    here = stage(system, sentences())
    drawn = sample(system.generator, here.spec, N, Streams(0, CPU)["noise"]).tokens
    seen = (drawn == 2).cumsum(1) - (drawn == 2).long() == 0
    assert (seen & (drawn == 0)).any()
    system.mediator_loss(here)
    M = system.mediator
    log_p = M.head(M.parallel(drawn, M.draw_noise(N, stream(0, "x")))).log_softmax(-1)
    nats = -(log_p.gather(2, drawn.unsqueeze(-1)).squeeze(-1) * seen).sum() / N
    assert here.metrics["train/mediator_drawn_nats"] == pytest.approx(float(nats.detach()))


def test_the_mediator_learns_both_kinds_of_text() -> None:
    system = made("cot")
    real = sentences()
    here = stage(system, real)
    value = system.mediator_loss(here)
    mean = (
        here.metrics["train/mediator_real_nats"] + here.metrics["train/mediator_drawn_nats"]
    ) / 2
    assert float(value.detach()) == pytest.approx(mean)
    logits = system.mediator.head(system.mediator.parallel(real, system.mediator.draw_noise(
        N, stream(0, "x"))))  # fmt: skip
    nats = -logits.log_softmax(-1).gather(2, real.unsqueeze(-1)).sum() / N
    assert here.metrics["train/mediator_real_nats"] == pytest.approx(float(nats.detach()))
