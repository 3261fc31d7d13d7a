"""grad E R = E (R - b) sum_t grad log p(x_t | x_<t), b <- rho b + (1 - rho) R (Williams 1992)."""

from torch import Tensor, nn

from core.config import StrategyConfig
from core.interfaces import EstimatorContext
from variants.estimator import DecayRate, MovingBaseline, PolicyGradient


class Reinforce(nn.Module, PolicyGradient):
    """REINFORCE: the reward of the sentence less a moving average of earlier rewards."""

    class Config(StrategyConfig):
        """Decay rho of the baseline; with 0 it is the mean of the last batch."""

        rho: DecayRate = 0.9

    paper = "Williams 1992"

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.baseline = MovingBaseline(config.rho)

    def advantages(self, context: EstimatorContext) -> Tensor:
        """A (N,)."""
        return self.baseline.subtract(context.rewards().per_sentence())
