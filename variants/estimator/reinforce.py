"""REINFORCE: grad E R = E (R - b) sum_t grad log p(x_t | x_<t), with b <- rho b + (1 - rho) R
(Williams 1992).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from core.config import Search, StrategyConfig
from core.rewards import MovingBaseline
from core.turn import Turn


class Reinforce(nn.Module):
    """One reward a sentence, less a moving average of those before."""

    class Config(StrategyConfig):
        """The baseline's decay rho; 0 is the last batch's mean."""

        name: Literal["reinforce"] = "reinforce"
        rho: Annotated[float, Field(ge=0, lt=1), Search(0, 0.99)] = 0.9

    offers = frozenset({"score_function", "mean_over_sentences"})
    needs: ClassVar[dict[str, str]] = {"sampling": "hard_words"}
    paper = "Williams 1992"
    target = "sequence"

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.baseline = MovingBaseline(config.rho)

    def judge(self, turn: Turn) -> tuple[Tensor, ...]:
        """Advantages (N,)."""
        return (self.baseline.subtract(turn.rewards().sentences()),)

    def loss(self, turn: Turn, judged: Sequence[Tensor]) -> Tensor:
        """See `Turn.climb`."""
        return turn.climb(judged[0])
