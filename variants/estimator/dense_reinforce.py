"""ScratchGAN's estimator: a reward at every step, discounted to the words before it.

    R_t = sum_{s >= t} gamma^(s - t) r_s,    E sum_t (R_t - b) grad log p(x_t | x_<t)

(de Masson d'Autume et al. 2019, section 2; there r_s = 2 sigma(D_s) - 1, which is what `minimax`
rewards with). At gamma = 1 and a reward that D gives for whole sentences only, this is REINFORCE;
below 1 it is not the gradient of any objective of sentences, but has less variance.

The baseline is the paper's moving average b <- rho b + (1 - rho) R over all steps, or at each step
the mean of the batch's other sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from core.config import Search, StrategyConfig
from core.interfaces import EstimatorContext
from core.training.rewards import MovingBaseline, discounted, leave_one_out


class DenseReinforce(nn.Module):
    """One reward a step, of a per-step discriminator."""

    class Config(StrategyConfig):
        """Discount gamma, kind of baseline, and the moving one's decay rho."""

        name: Literal["dense_reinforce"] = "dense_reinforce"
        gamma: Annotated[float, Field(ge=0, le=1), Search(0, 1)] = 0.23
        baseline: Literal["moving", "leave_one_out"] = "moving"
        rho: Annotated[float, Field(ge=0, lt=1), Search(0, 0.99)] = 0.08

    offers = frozenset({"score_function", "mean_over_sentences"})
    needs: ClassVar[dict[str, str]] = {"sampling": "hard_words", "discriminator": "step_scores"}
    paper = "de Masson d'Autume et al. 2019"
    target = "discounted"

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.gamma = config.gamma
        self.moving = MovingBaseline(config.rho) if config.baseline == "moving" else None

    def prepare(self, context: EstimatorContext) -> tuple[Tensor, ...]:
        """Advantages (N, S)."""
        rewards = context.masked(context.rewards().values)
        returns = discounted(rewards, self.gamma)
        if self.moving is not None:
            return (self.moving.subtract(returns, context.mask),)
        return (leave_one_out(returns, context.mask),)

    def loss(self, context: EstimatorContext, prepared: Sequence[Tensor]) -> Tensor:
        """See `EstimatorContext.climb`."""
        return context.policy_gradient_loss(prepared[0])
