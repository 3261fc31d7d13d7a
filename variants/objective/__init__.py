"""The two adversarial losses, of D's scores: r of real sentences, f of generated ones.

sp is softplus, sp(x) = log(1 + e^x), and sigma the logistic function, so sp(-x) = -log sigma(x).
"""

from abc import ABC, abstractmethod
from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from core.config import Search, StrategyConfig
from core.interfaces import Strategy
from core.types import Scores

# One-sided: D's label is 1 - s for real sentences, 0 for generated ones (Salimans et al. 2016).
LabelSmoothing = Annotated[float, Field(ge=0, lt=0.5), Search(0, 0.3)]


class ScoreObjective(Strategy, ABC):
    """G's loss is the mean of a function of each score; its negative is the reward."""

    offers = frozenset({"mean_over_sentences"})
    relativistic = False
    uses_features = False

    @abstractmethod
    def generator_loss(self, f: Tensor) -> Tensor:
        """G's loss for each score, of the same shape."""

    def generator(self, fake: Scores, real: Scores | None) -> Tensor:
        """The mean of G's loss over sentences."""
        return fake.mean(self.generator_loss(fake.values))

    def reward(self, fake: Scores, real: Scores | None) -> Tensor:
        """Minus G's loss for each score."""
        return -self.generator_loss(fake.values)


class CrossEntropy(ScoreObjective):
    """D is a classifier of real and generated sentences; scores are its log-odds."""

    class Config(StrategyConfig):
        """One-sided label smoothing: D's label for real sentences is 1 minus this."""

        label_smoothing: LabelSmoothing = 0.0

    offers = frozenset({"log_ratio", "loss_per_score", "mean_over_sentences"})

    def discriminator(self, real: Scores, fake: Scores) -> Tensor:
        """Cross-entropy: E sp(-r) + E sp(f); with smoothing s, E sp(-r) + s r + E sp(f)."""
        return real.mean(self.real_loss(real.values)) + fake.mean(self.fake_loss(fake.values))

    def real_loss(self, r: Tensor) -> Tensor:
        """D's loss for each score of real text: sp(-r) + s r."""
        return softplus(-r) + self.config.label_smoothing * r

    def fake_loss(self, f: Tensor) -> Tensor:
        """D's loss for each score of generated text: sp(f)."""
        return softplus(f)
