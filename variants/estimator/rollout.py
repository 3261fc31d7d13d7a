"""SeqGAN: the value of a token is the mean reward of sentences that continue from it.

    Q_t = mean over K completions of x_{1..t} of their reward, Q_S = the sentence's own;
    E sum_t (Q_t - b_t) grad log p(x_t | x_<t)

(Yu et al. 2017, equation 4.) Unbiased for the sentence's reward, with less variance than REINFORCE
at K S times the sampling. The paper has no baseline; `leave_one_out` subtracts the mean of the
other sentences at each step, which changes only the variance.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from core.config import Search, StrategyConfig
from core.interfaces import EstimatorContext
from variants.estimator import PolicyGradient, subtract_others


class Rollout(PolicyGradient):
    """SeqGAN: action values from Monte-Carlo completions of every prefix."""

    class Config(StrategyConfig):
        """Completions per prefix (K), and the baseline."""

        completions: Annotated[int, Field(ge=1, le=1024), Search(1, 16)] = 16
        baseline: Literal["none", "leave_one_out"] = "none"

    paper = "Yu et al. 2017"

    def q_values(self, context: EstimatorContext) -> Tensor:
        """Q (N, S)."""
        return context.mc_q_values(self.config.completions)

    def advantages(self, context: EstimatorContext) -> Tensor:
        """Q (N, S) less the baseline."""
        values = self.q_values(context)
        return values if self.config.baseline == "none" else subtract_others(values, context.mask)
