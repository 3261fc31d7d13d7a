"""Included systems with small parts, for operative tests: everything else as in their files."""

from __future__ import annotations

from core.config import Config
from core.training.players import build
from core.training.state import TrainingState
from experiments import load
from tests.product import N, RandomBatches, S, V
from tests.variants.system.small import CPU
from variants import registry

SHARED = (f"model.length={S}", f"train.batch_size={N}")
CNN = ("discriminator.kernels=[1,2]", "discriminator.filters=[3,3]")
SYSTEM_CNN = ("system.kernels=[1,2]", "system.filters=[3,3]")


def small(system: str, *overrides: str) -> Config:
    """A system's configuration for sentences of S words, N at a time."""
    return load(system, [*SHARED, *overrides])


def state(config: Config) -> TrainingState:
    """Before the first update, on random sentences of V words."""
    players = build(config, registry(), V, CPU)
    return TrainingState(config, players, RandomBatches(), CPU)  # type: ignore[arg-type]
