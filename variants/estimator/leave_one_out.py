"""REINFORCE whose baseline is the rest of the batch: A_i = N / (N - 1) (R_i - mean R), that is R_i
less the mean of the others (Kool et al. 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor

from core.config import StrategyConfig
from core.interfaces import EstimatorContext
from core.training.rewards import leave_one_out


class LeaveOneOut:
    """One reward a sentence, less the mean of the other sentences'."""

    class Config(StrategyConfig):
        """No settings."""

        name: Literal["leave_one_out"] = "leave_one_out"

    offers = frozenset({"score_function", "mean_over_sentences"})
    needs: ClassVar[dict[str, str]] = {"sampling": "hard_words"}
    paper = "Kool et al. 2019"
    target = "sequence"

    def __init__(self, config: Config) -> None:
        pass

    def prepare(self, context: EstimatorContext) -> tuple[Tensor, ...]:
        """Advantages (N,)."""
        return (leave_one_out(context.rewards().per_sentence()),)

    def loss(self, context: EstimatorContext, prepared: Sequence[Tensor]) -> Tensor:
        """See `EstimatorContext.climb`."""
        return context.policy_gradient_loss(prepared[0])
