"""Whole systems, small, for their tests."""

from __future__ import annotations

from typing import Any

import torch

from core.config import Config, parse
from core.interfaces import SamplingSpec, StepContext
from core.seeding import Streams
from core.training.players import as_module, build_system
from tests.conftest import tiny
from variants import registry

V, N, S = 13, 5, 8
CPU = torch.device("cpu")
SMALL: dict[str, dict[str, Any]] = {
    "cot": {"width": 6, "mediator_width": 8},
    "dpgan": {"width": 6, "discriminator_width": 5, "generator_updates": 2, "gamma": 0.5,
              "discriminator_updates": 1, "n_d": 2},
    "leakgan": {"width": 6, "hidden": 5, "goal": 3, "horizon": 3, "completions": 2, "n_d": 1,
                "kernels": [2, 3], "filters": [4, 5], "generator_updates": 2, "interleave": 2},
    "sentigan": {"width": 6, "completions": 2, "n_d": 2, "kernels": [2, 3], "filters": [4, 5],
                 "dropout": 0.0, "generator_updates": 2, "discriminator_updates": 1},
    "iq_learn": {"width": 6, "penalty": 0.25, "gamma": 0.9},
    "jsdgan": {"width": 6, "generator_updates": 2},
    "textgan_mmd": {"width": 6, "discriminator_width": 5, "kernels": [2, 3], "filters": [4, 5],
                    "autoencoder_updates": 2, "n_g": 2, "reconstruction": 0.5,
                    "discrepancy": 2.0},
    "catgan": {"width": 4, "heads": 1, "head_size": 4, "discriminator_width": 4,
               "representations": 2, "kernels": [2, 3], "filters": [4, 5], "dropout": 0.0,
               "generator_updates": 2, "n_d": 2, "temperature_step": 0.2, "diversity": 0.5,
               "published": True},
}  # fmt: skip


def whole(name: str, **train: Any) -> Config:
    tables = tiny().tables()
    kept = {key: tables[key] for key in ("corpus", "model", "train", "evaluation")}
    kept["train"] |= {"log_every": 1, "checkpoint_every": 2, **train}
    return parse({**kept, "name": name, "system": {"name": name, **SMALL[name]}}, registry())


def made(name: str, vocabulary: int = V) -> Any:
    system = build_system(whole(name), registry(), vocabulary)
    as_module(system.generator).double()
    for other in system.others.values():
        other.double()
    return system


def stage(system: Any, tokens: torch.Tensor) -> StepContext:
    spec = SamplingSpec(system.sampling)
    rng = Streams(0, CPU).__getitem__
    return StepContext(len(tokens), spec, lambda: tokens, rng, {}, len(tokens))


def sentences(seed: int = 0) -> torch.Tensor:
    return torch.randint(4, V, (N, S), generator=torch.Generator().manual_seed(seed))
