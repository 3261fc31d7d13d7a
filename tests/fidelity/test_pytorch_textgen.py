"""The second version of the original, pytorch_textgen (docs/original.md)."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from core.seeding import generator as stream
from core.training.players import build
from experiments.loading import load
from tests.fidelity.test_gan_textgen import N, S, V, small
from variants import registry


@pytest.mark.fidelity
def test_the_latent_is_one_number_for_each_position_repeated_over_the_width() -> None:
    players = build(small("pytorch_textgen"), registry(), V, torch.device("cpu"))
    G: Any = players.generator
    noise = G.draw_noise(N, stream(0, "noise"))
    assert noise.latent.shape == (N, S)
    memory = G.noise_mapping(noise.latent)
    assert memory.shape == (N, S, 4)
    assert torch.equal(memory, memory[..., :1].expand_as(memory))
    assert noise.inputs is None  # the next-step input is the last token, first a start token


@pytest.mark.fidelity
def test_d_halves_the_length_after_every_block() -> None:
    """64 positions become 32, 16, .. 1 after the six blocks, the class token is added then."""
    assert load("pytorch_textgen").discriminator.pooling == "avg"  # type: ignore[union-attr]
    players = build(small("pytorch_textgen", 64), registry(), V, torch.device("cpu"))
    D: Any = players.trainable["discriminator"].module
    lengths: list[int] = []
    layers = [block[0] for block in D.backbone] + [D.output[0]]
    for layer in layers:
        layer.register_forward_pre_hook(lambda module, args: lengths.append(args[0].shape[1]))
    D.score(torch.randn(2, 64, 4), None)
    assert lengths == [64, 32, 16, 8, 4, 2, 2]
