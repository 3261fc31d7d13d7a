"""REINFORCE whose baseline is the rest of the batch: A_i = N / (N - 1) (R_i - mean R), that is R_i
less the mean of the others (Kool et al. 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor

from core.config import StrategyConfig
from core.rewards import leave_one_out
from core.turn import Turn


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

    def judge(self, turn: Turn) -> tuple[Tensor, ...]:
        """Advantages (N,)."""
        return (leave_one_out(turn.rewards().sentences()),)

    def loss(self, turn: Turn, judged: Sequence[Tensor]) -> Tensor:
        """See `Turn.climb`."""
        return turn.climb(judged[0])
