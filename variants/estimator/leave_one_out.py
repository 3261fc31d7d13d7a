"""REINFORCE with the rest of the batch as baseline: A_i = N / (N - 1) (R_i - mean R), which is R_i
less the mean of the other rewards (Kool et al. 2019).
"""

from typing import Literal

from torch import Tensor

from core.config import StrategyConfig
from core.interfaces import EstimatorContext
from variants.estimator import PolicyGradient, subtract_others


class LeaveOneOut(PolicyGradient):
    """REINFORCE: the reward of the sentence less the mean reward of the other sentences."""

    class Config(StrategyConfig):
        """No settings."""

        name: Literal["leave_one_out"] = "leave_one_out"

    paper = "Kool et al. 2019"

    def advantages(self, context: EstimatorContext) -> Tensor:
        """A (N,)."""
        return subtract_others(context.rewards().per_sentence())
