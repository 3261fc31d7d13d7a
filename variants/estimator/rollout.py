"""SeqGAN's estimator: what a word is worth is the mean reward of sentences that go on from it.

    Q_t = mean over K completions of x_{1..t} of their reward, Q_S = the sentence's own;
    E sum_t (Q_t - b_t) grad log p(x_t | x_<t)

(Yu et al. 2017, equation 4.) Unbiased for the sentence's reward, with less variance than REINFORCE
at K S times the drawing. The paper has no baseline; `leave_one_out` takes the other sentences' mean
at each step, which changes the variance only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from core.config import Search, StrategyConfig
from core.interfaces import EstimatorContext
from core.training.rewards import leave_one_out


class Rollout:
    """Monte-Carlo completions of every prefix, scored by D."""

    class Config(StrategyConfig):
        """Completions a prefix (K), and the baseline."""

        name: Literal["rollout"] = "rollout"
        completions: Annotated[int, Field(ge=1, le=1024), Search(1, 16)] = 16
        baseline: Literal["none", "leave_one_out"] = "none"

    offers = frozenset({"score_function", "mean_over_sentences"})
    needs: ClassVar[dict[str, str]] = {"sampling": "hard_words"}
    paper = "Yu et al. 2017"
    target = "sequence"

    def __init__(self, config: Config) -> None:
        self.config = config

    def prepare(self, context: EstimatorContext) -> tuple[Tensor, ...]:
        """Advantages (N, S)."""
        values = context.mc_q_values(self.config.completions)
        if self.config.baseline == "leave_one_out":
            values = leave_one_out(values, context.mask)
        return (values,)

    def loss(self, context: EstimatorContext, prepared: Sequence[Tensor]) -> Tensor:
        """See `EstimatorContext.climb`."""
        return context.policy_gradient_loss(prepared[0])
