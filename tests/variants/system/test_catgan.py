"""CatGAN, against plain definitions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from core.kernels.torch import TORCH
from core.nn.noise import gumbel_noise
from core.seeding import Streams
from tests.variants.system.small import CPU, N, S, made, sentences, stage


def _relaxed(system: Any, G: Any, tau: float, rng: torch.Generator) -> tuple[Any, Any, Any]:
    """Tokens, D's scores (N, R) of their dense Gumbel-softmax, and -log p of each (N, S)."""
    D = system.discriminator
    noise, seeds = G.draw_noise(N, rng), system.sampling.randomness(1, rng)
    state, last, seen, words, nats = G.begin(noise, True), None, [], [], []
    open_ended = torch.ones(N, 1)
    for t in range(S):
        logits = G.head(G.step(state, last))
        noisy = logits + gumbel_noise(TORCH, seeds, t, logits)
        seen.append((noisy / tau).softmax(-1) @ D.embedding * open_ended)
        words.append(noisy.argmax(-1))
        nats.append(-logits.log_softmax(-1)[range(N), words[-1]] * open_ended[:, 0])
        open_ended = open_ended * (words[-1] != 2)[:, None]
        last = G.embed(words[-1])
    scores = D.score(torch.stack(seen, dim=1), None)
    return torch.stack(words, dim=1), scores, torch.stack(nats, dim=1)


@pytest.mark.parametrize("number", [1, 5])
def test_catgans_children_begin_as_their_parent_with_losses_of_their_own(
    doubles: None, number: int
) -> None:
    system, real = made("catgan"), sentences()
    here = replace(stage(system, real), progress=0.1)
    system.child_loss(0, stage(system, real))  # which reads the real sentences of all
    value = system.child_loss(number, here)
    child, G, D = system.children[number], system.generator, system.discriminator
    for a, b in zip(child.parameters(), G.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a is not b
    tau = 100 ** -(0.1 + (0.2 if number == 1 else -0.2))
    _, f, _ = _relaxed(system, child, tau, Streams(0, CPU)["noise"])
    r = D.score(D.embedding[real], None).detach()
    above, below = f.mean(1) - r.mean(), f.mean() - r.mean(1)
    average = -(above.sigmoid().log().mean() + below.sigmoid().log().mean())
    paired = -(f - r).sigmoid().log().mean()  # of each representation
    expected = average if number == 1 else paired
    assert torch.allclose(value, expected, atol=1e-10)
    weights = list(child.parameters())
    ours, theirs = torch.autograd.grad(value, weights), torch.autograd.grad(expected, weights)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-10)


def test_catgans_fitness_is_quality_and_diversity(doubles: None) -> None:
    system = made("catgan")
    here = stage(system, sentences())
    tokens, f, nats = _relaxed(system, system.children[0], 1.0, Streams(0, CPU)["fitness"])
    shown = (tokens == 2).cumsum(1) - (tokens == 2).long() == 0
    expected = (f - 0.3).sigmoid().sum() + 0.5 * nats.sum() / shown.sum()
    with torch.no_grad():
        found = system.fitness(0, torch.tensor(0.3), here)
    assert found == pytest.approx(float(expected.detach()), abs=1e-10)


def test_the_fittest_of_catgans_children_is_the_next_generator(
    doubles: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, real = made("catgan"), sentences()
    values = [0.1, 0.2, 0.0, 0.3, 0.9, 0.4]
    monkeypatch.setattr(system, "fitness", lambda number, *_: values[number])
    here = stage(system, real)
    loss = system.select(here)
    assert here.metrics["train/chosen"] == 4
    chosen, D = system.children[4], system.discriminator
    for a, b in zip(chosen.parameters(), system.generator.parameters(), strict=True):
        assert torch.equal(a, b)
    _, f, _ = _relaxed(system, chosen, 100**-0.2, Streams(0, CPU)["noise"])
    f, r = f.mean(1), D.score(D.embedding[real], None).mean(1)
    expected = -((r - f.mean()).sigmoid().log().mean() + (r.mean() - f).sigmoid().log().mean())
    assert torch.allclose(loss, expected, atol=1e-10)
