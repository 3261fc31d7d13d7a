"""Train a player of a whole system on a loss that the system brings."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from core.interfaces import StepContext
from core.training.optimisation import optimise
from core.training.state import TrainingState
from core.types import Phase


def system_step(state: TrainingState, phase: Phase) -> float:
    """Train a player of a whole system once; the loss."""
    assert callable(phase.loss)
    context = StepContext(
        batch_size=state.batch_size,
        spec=state.sampling_spec(),
        next_batch=state.next_tokens,
        rng=state.streams.__getitem__,
        metrics=state.metrics,
        train_size=state.batches.sentences,
        step=state.adversarial_step,
        progress=state.progress,
    )

    def losses() -> Iterator[Tensor]:  # computed after the last step's gradients are cleared
        yield phase.loss(context)  # type: ignore[operator]

    return optimise(state, phase.player, losses())
