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
        state.batch_size,
        state.device,
        state.sampling_spec(),
        state.next_tokens,
        state.streams.__getitem__,
        state.metrics,
        state.batches.sentences,
        state.adversarial_step,
        state.progress,
    )

    def losses() -> Iterator[Tensor]:  # computed after the last step's gradients are cleared
        yield phase.loss(context)  # type: ignore[operator]

    return optimise(state, phase.player, losses())
