"""Included systems with small parts, for operative tests: everything else as in their files."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from core.config import Config
from core.interfaces import EstimatorContext, Schedule
from core.training.loop import train_phase
from core.training.players import build
from core.training.state import TrainingState
from core.types import Phase, Progress
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


def prepared(run: TrainingState) -> tuple[EstimatorContext, tuple[Tensor, ...], Tensor]:
    """One step of G: what its estimator saw, what it made of it, and the state of its random stream
    before.
    """
    estimator, found = run.adversary.estimator, []
    prepare = estimator.prepare

    def watched(context: EstimatorContext) -> tuple[Tensor, ...]:
        before = context.rng.get_state()
        found.append((context, prepare(context), before))
        return found[-1][1]

    estimator.prepare = watched  # type: ignore[method-assign]
    train_phase(run, Phase("generator", "adversarial"))
    return found[0]


def share(schedule: Schedule, per_epoch: int, updates: int) -> dict[tuple[str, str], int]:
    """Steps by player and loss in these many updates."""
    steps: Counter[tuple[str, str]] = Counter()
    for update in range(updates):
        for phase in schedule.phases(Progress(update, {}, per_epoch)):
            loss: Any = phase.loss
            steps[phase.player, getattr(loss, "__name__", loss)] += phase.repeats
    return dict(steps)


def norms(run: TrainingState, phase: Phase) -> tuple[float, float]:
    """The norm of the player's gradient before and after the clip, in a step whose gradients are
    large.
    """
    weights = list(run.players.trainable[phase.player].module.parameters())
    for weight in weights:
        if weight.requires_grad:
            weight.register_hook(lambda gradient: gradient * 1e4)
    train_phase(run, phase)
    after = nn.utils.get_total_norm([each.grad for each in weights if each.grad is not None])
    return run.metrics[f"train/{phase.player}_gradient_norm"], float(torch.as_tensor(after))
