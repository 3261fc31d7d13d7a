"""The moving average of G's weights, against its recursion."""

from __future__ import annotations

import torch

from core.training.loop import Trainer
from core.training.players import as_module, build
from core.training.state import TrainingState
from tests.conftest import tiny
from variants import registry

V, N = 29, 4


class Batches:
    """Random sentences of V words."""

    per_epoch = sentences = 10

    def batch(self, number: int) -> torch.Tensor:
        return torch.randint(4, V, (N, 8), generator=torch.Generator().manual_seed(number))


def test_the_average_is_short_at_first() -> None:
    config = tiny("train.ema=0.25", "train.updates=4", "train.log_every=1", "evaluation.every=1")
    cpu = torch.device("cpu")
    players = build(config, registry(), V, cpu)
    mean = [p.detach().clone() for p in as_module(players.averaged).parameters()]
    decays = [1 / 10, 2 / 11, 3 / 12, 0.25]  # (1 + n) / (10 + n), and ema at the most

    def follow() -> None:
        """After each update, and once before the first."""
        if state.counters.update == 0:
            return
        decay = decays[state.counters.update - 1]
        weights = as_module(players.generator).parameters()
        for average, weight in zip(mean, weights, strict=True):
            average.mul_(decay).add_((1 - decay) * weight.detach())
        for ours, plain in zip(as_module(players.averaged).parameters(), mean, strict=True):
            assert torch.allclose(ours, plain, atol=1e-6)

    batches = Batches()
    state = TrainingState(config, players, batches, cpu)  # type: ignore[arg-type]
    trainer = Trainer(state, lambda _, __: None)
    trainer.train(follow, lambda: None)
    assert state.counters.update == 4
