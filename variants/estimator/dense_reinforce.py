"""ScratchGAN: a reward at every step, discounted over the tokens before it.

    R_t = sum_{s >= t} gamma^(s - t) r_s,    E sum_t (R_t - b) grad log p(x_t | x_<t)

(de Masson d'Autume et al. 2019, section 2; there r_s = 2 sigma(D_s) - 1, the reward of `minimax`.)
With gamma = 1 and one reward per sentence this is REINFORCE. Below 1 it is not the gradient of any
objective of sentences, but has less variance.

The baseline is the paper's moving average b <- rho b + (1 - rho) R over all steps, or the mean of
the other sentences at each step. In the authors' code it `includes_batch`.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from core.config import Search, StrategyConfig
from core.interfaces import EstimatorContext
from variants.estimator import (
    DecayRate,
    MovingBaseline,
    PolicyGradient,
    discounted,
    subtract_others,
)


class DenseReinforce(nn.Module, PolicyGradient):
    """ScratchGAN: discounted rewards from a discriminator that scores every prefix."""

    class Config(StrategyConfig):
        """Discount gamma, kind of baseline, decay rho of the moving one, and when it moves."""

        gamma: Annotated[float, Field(ge=0, le=1), Search(0, 1)] = 0.23
        baseline: Literal["moving", "leave_one_out"] = "moving"
        rho: DecayRate = 0.08
        includes_batch: bool = False  # it is a mean of all returns so far, these included

    needs = {"sampling": "hard_tokens", "discriminator": "step_scores"}
    paper = "de Masson d'Autume et al. 2019"
    target = "discounted"
    discriminator_evaluates = False  # ScratchGAN's code takes rewards from D's training pass

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.gamma = config.gamma
        moving = config.baseline == "moving"
        self.moving = MovingBaseline(config.rho, config.includes_batch) if moving else None

    def advantages(self, context: EstimatorContext) -> Tensor:
        """A (N, S)."""
        returns = discounted(context.masked(context.rewards().values), self.gamma)
        if self.moving is not None:
            return self.moving.subtract(returns, context.mask)
        return subtract_others(returns, context.mask)
