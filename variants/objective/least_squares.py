"""D: E (r - 1)^2 / 2 + E f^2 / 2; G: E (f - 1)^2 / 2 (Mao et al. 2017, equation 9)."""

from torch import Tensor

from core.config import StrategyConfig
from core.types import Scores
from variants.objective import LabelSmoothing, ScoreObjective


class LeastSquares(ScoreObjective):
    """Least squares (LSGAN): scores are regressed to 1 for real and 0 for generated sentences."""

    class Config(StrategyConfig):
        """One-sided label smoothing: D's label for real sentences is 1 minus this."""

        label_smoothing: LabelSmoothing = 0.0

    paper = "Mao et al. 2017"

    def discriminator(self, real: Scores, fake: Scores) -> Tensor:
        """E (r - 1)^2 / 2 + E f^2 / 2."""
        label = 1 - self.config.label_smoothing
        return (real.mean((real.values - label) ** 2) + fake.mean(fake.values**2)) / 2

    def generator_loss(self, f: Tensor) -> Tensor:
        """(f - 1)^2 / 2: the reward falls again for scores above 1."""
        return ((f - 1) ** 2) / 2
