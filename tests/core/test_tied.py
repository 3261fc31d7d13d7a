"""Tied embeddings of a recurrent generator."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from safetensors.torch import save

from core.seeding import generator as stream
from core.training.players import as_module, build_generator
from experiments import load
from tests.product import N, S, V, trains
from variants import registry

NAMES = {
    "generator": "lstm", "next_input": "last_token", "noise_mapping": "none",
    "sampling": "categorical", "temperature": "constant", "estimator": "reinforce",
    "discriminator": "cnn", "objective": "minimax", "penalty": "none", "schedule": "interleaved",
}  # fmt: skip


@pytest.mark.parametrize("next_input", ["last_token", "noise"])
def test_one_table_embeds_and_scores(next_input: str) -> None:
    config = load("scratchgan", [
        "generator.width=3", "generator.hidden=5", "generator.tied=true", "generator.dropout=0.2",
        f"next_input={{name='{next_input}'}}", f"model.length={S}",
    ])  # fmt: skip
    G = build_generator(config, registry(), V)
    module = deepcopy(as_module(G))  # the copy's head has the copy's table
    assert module.head.weight is module.embedding.weight  # type: ignore[union-attr]
    assert module.head.weight is not G.head.weight
    assert save(module.state_dict())  # each tensor once
    noise = G.draw_noise(N, stream(0, "noise"))
    tokens = torch.randint(4, V, (N, S))
    state = G.begin(noise, False)
    steps = [G.step(state, None)]
    steps += [G.step(state, G.embed(tokens[:, t])) for t in range(S - 1)]
    hidden = G.parallel(tokens, noise)
    assert torch.allclose(hidden, torch.stack(steps, dim=1), atol=1e-6)
    assert hidden.shape == (N, S, 3)


def test_a_tied_generator_trains() -> None:
    trains(NAMES, "generator.tied=true", "generator.hidden=6", "generator.layers=2")
