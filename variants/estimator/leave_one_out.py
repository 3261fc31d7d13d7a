"""REINFORCE with the rest of the batch as baseline: A_i = N / (N - 1) (R_i - mean R), which is R_i
less the mean of the other rewards (Kool et al. 2019).
"""

from torch import Tensor

from core.interfaces import EstimatorContext
from variants.estimator import PolicyGradient, subtract_others


class LeaveOneOut(PolicyGradient):
    """REINFORCE: the reward of the sentence less the mean reward of the other sentences."""

    paper = "Kool et al. 2019"

    def advantages(self, context: EstimatorContext) -> Tensor:
        """A (N,)."""
        return subtract_others(context.rewards().per_sentence())
