"""TextGAN, against plain definitions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from core.interfaces import StepContext
from core.seeding import Streams
from core.seeding import generator as stream
from tests.variants.system.small import CPU, N, S, made, sentences, stage
from variants.system.textgan_mmd import squared_mmd


def _soft(system: Any, here: StepContext) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of the sentences that come next, word by word from dense distributions, and z."""
    G, D = system.generator, system.discriminator
    noise = G.draw_noise(N, Streams(0, CPU)["noise"])
    state, last, seen = G.begin(noise, True), None, []
    open_ended = torch.ones(N, 1)
    for _ in range(S):
        logits = G.head(G.step(state, last))
        p = (logits / here.spec.temperature).softmax(-1)
        last = p @ G.embedding.weight
        seen.append(p @ D.cnn.embedding * open_ended)
        open_ended = open_ended * (logits.argmax(-1, keepdim=True) != 2)
    return D.cnn.features(torch.stack(seen, dim=1), None), noise.latent


def _softer(system: Any, real: torch.Tensor) -> StepContext:
    """A stage whose soft words are not hard ones."""
    here = stage(system, real)
    return replace(here, spec=replace(here.spec, temperature=0.3))


def test_textgans_generator_matches_features_through_soft_words(doubles: None) -> None:
    system, real = made("textgan_mmd"), sentences()
    here = _softer(system, real)
    value = system.generator_loss(here)
    fake, _ = _soft(system, here)
    D = system.discriminator
    theirs = D.cnn.features(D.cnn.embedding[real], None).detach()
    expected = squared_mmd(fake, theirs)
    assert torch.allclose(value, expected, atol=1e-10)
    weights = [p for n, p in system.generator.named_parameters()]
    ours, plain = torch.autograd.grad(value, weights), torch.autograd.grad(expected, weights)
    for a, b in zip(ours, plain, strict=True):
        assert torch.allclose(a, b, atol=1e-10)
    assert any(bool(a.abs().max() > 1e-6) for a in ours)


def test_textgans_discriminator_tells_reconstructs_and_keeps_apart(doubles: None) -> None:
    system, real = made("textgan_mmd"), sentences()
    here = _softer(system, real)
    value = system.discriminator_loss(here)
    D = system.discriminator
    with torch.no_grad():
        fake, z = _soft(system, here)
        of_real = D.cnn.features(D.cnn.embedding[real], None)
        right = D.cnn.out(of_real).sigmoid().log() + (1 - D.cnn.out(fake).sigmoid()).log()
        missed = (D.latent(fake).tanh() - z).norm(dim=1) ** 2
        expected = -right.mean() + 0.5 * missed.mean() - 2 * squared_mmd(of_real, fake)
    assert torch.allclose(value, expected, atol=1e-10)


def test_textgans_autoencoder_moves_both_players(doubles: None) -> None:
    system, real = made("textgan_mmd"), sentences()
    G, D = system.generator, system.discriminator
    value = system.autoencoder_loss(stage(system, real))
    value.backward()
    z = D.latent(D.cnn.features(D.cnn.embedding[real], None)).tanh()
    noise = replace(G.draw_noise(N, stream(0, "x")), latent=z)
    state, last, nats = G.begin(noise, True), None, []
    for t in range(S):
        log_p = G.head(G.step(state, last)).log_softmax(-1)
        nats.append(-log_p[range(N), real[:, t]])
        last = G.embed(real[:, t])
    assert torch.allclose(value, torch.stack(nats).mean(), atol=1e-10)
    assert D.latent.weight.grad is not None
    assert G.head.weight.grad is not None
