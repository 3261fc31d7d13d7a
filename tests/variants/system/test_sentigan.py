"""SentiGAN, against plain definitions."""

from __future__ import annotations

import torch

from core.seeding import Streams
from core.training.rollout import completions, sample
from tests.variants.system.small import CPU, N, S, made, sentences, stage


def test_sentigan_weighs_each_words_probability_with_its_fine() -> None:
    system = made("sentigan")
    G, D = system.generator, system.discriminator
    here = stage(system, sentences())
    value = system.generator_loss(here)
    streams = Streams(0, CPU)
    draw = sample(G, here.spec, N, streams["noise"])
    continued = completions(G, here.spec, draw, 2, streams["completions"])

    def fine(tokens: torch.Tensor) -> torch.Tensor:  # of one sentence
        ends = (tokens == 2).nonzero().flatten().tolist()
        x = D.embedding[tokens].clone()
        x[(ends or [S])[0] + 1 :] = 0
        return 1 - D.score(x[None], None).sigmoid()[0].detach()

    p = G.head(G.parallel(draw.tokens, draw.noise)).softmax(-1)
    expected = torch.zeros((), dtype=p.dtype)
    for n, words in enumerate(draw.tokens):
        for t, word in enumerate(words.tolist()):
            ends = continued[t, n] if t < S - 1 else words[None]
            expected = expected + p[n, t, word] * sum(fine(x) for x in ends) / len(ends) / N
            if word == 2:
                break
    assert torch.allclose(value, expected, atol=1e-10)
    weights = list(G.parameters())
    ours, theirs = torch.autograd.grad(value, weights), torch.autograd.grad(expected, weights)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-10)
    assert all(p.grad is None for p in D.parameters())


def test_sentigans_discriminator_tells_real_from_drawn() -> None:
    system, real = made("sentigan"), sentences()
    here = stage(system, real)
    value = system.discriminator_loss(here)
    tokens = sample(system.generator, here.spec, N, Streams(0, CPU)["noise"]).tokens
    ended = (tokens == 2).cumsum(1) - (tokens == 2).long() > 0
    D = system.discriminator
    of_real = D.score(D.embedding[real], None).sigmoid()
    of_drawn = D.score(D.embedding[tokens] * ~ended[..., None], None).sigmoid()
    expected = -of_real.log().mean() - (1 - of_drawn).log().mean()
    assert torch.allclose(value, expected, atol=1e-10)
