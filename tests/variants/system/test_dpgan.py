"""DPGAN, against plain definitions."""

from __future__ import annotations

import torch

from core.seeding import Streams
from core.seeding import generator as stream
from core.training.rollout import sample
from tests.variants.system.small import CPU, N, made, sentences, stage


def test_dpgan_rewards_what_surprises() -> None:
    system = made("dpgan")
    rewards = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 0.0]])
    shown = torch.tensor([[True, True, True], [True, True, False]])
    Q = system.q_values(rewards, shown)
    expected = torch.tensor([[2.75 * 2, 3.5 * 2, 3.0 * 2], [6.5 * 4.5, 5.0 * 4.5, 0.0]])
    assert torch.allclose(Q, expected)


def test_a_padding_token_that_was_drawn_is_not_rewarded() -> None:
    system = made("dpgan")
    with torch.no_grad():
        system.generator.head.bias[0] += 30  # G draws nothing else
    here = stage(system, sentences())
    assert (sample(system.generator, here.spec, N, Streams(0, CPU)["noise"]).tokens == 0).all()
    assert float(system.generator_loss(here).detach()) == 0


def test_dpgans_losses_are_the_language_models() -> None:
    system, real = made("dpgan"), sentences()
    here = stage(system, real)
    value = system.discriminator_loss(here)
    D = system.discriminator
    drawn = sample(system.generator, here.spec, N, Streams(0, CPU)["noise"]).tokens
    ended = (drawn == 2).cumsum(1) - (drawn == 2).long() > 0

    def surprise(tokens: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        log_p = D.head(D.parallel(tokens, D.draw_noise(N, stream(0, "x")))).log_softmax(-1)
        nats = -log_p.gather(2, tokens.unsqueeze(-1)).squeeze(-1).masked_fill(hidden, 0)
        return (nats.sum(1) / (~hidden).sum(1)).mean()

    drawn_padded = drawn.masked_fill(ended, 0)
    skipped = ended | (drawn == 0)  # padding that was drawn is no word either
    expected = surprise(drawn_padded, skipped) - surprise(real, torch.zeros_like(ended))
    assert torch.allclose(value, expected, atol=1e-10)
    system.generator_loss(here).backward()
    assert all(p.grad is None for p in D.parameters())
