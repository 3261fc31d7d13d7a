"""REINFORCE: grad E R = E (R - b) sum_t grad log p(x_t | x_<t), with b <- rho b + (1 - rho) R
(Williams 1992).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from core.config import Search, StrategyConfig
from core.interfaces import EstimatorContext
from core.training.rewards import MovingBaseline


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

    def prepare(self, context: EstimatorContext) -> tuple[Tensor, ...]:
        """Advantages (N,)."""
        return (self.baseline.subtract(context.rewards().per_sentence()),)

    def loss(self, context: EstimatorContext, prepared: Sequence[Tensor]) -> Tensor:
        """See `EstimatorContext.climb`."""
        return context.policy_gradient_loss(prepared[0])
