"""D: E sp(-(r - f)); G: E sp(-(f - r)), over pairs of a real and a generated sentence
(Jolicoeur-Martineau 2019, section 4.1; RelGAN, Nie et al. 2019; R3GAN, Huang et al. 2024).

With one score per step, steps are paired. Where only one of the two sentences has a step, the
other's mean score is used.
"""

from typing import Literal

from torch import Tensor
from torch.nn.functional import softplus

from core.config import StrategyConfig
from core.interfaces import Strategy
from core.types import Scores


class Relativistic(Strategy):
    """Relativistic loss: D predicts which sentence of a pair is the real one."""

    class Config(StrategyConfig):
        """The reward of policy gradients."""

        # "relative": log sigma(f - r), minus G's loss. "score": f alone, as in GAD, Ye et al. 2025.
        reward: Literal["relative", "score"] = "relative"

    offers = frozenset({"mean_over_sentences"})
    paper = "Jolicoeur-Martineau 2019"
    relativistic = True
    uses_features = False

    def discriminator(self, real: Scores, fake: Scores) -> Tensor:
        """E sp(-(r - f))."""
        pairs = real.minus(fake)
        return pairs.mean(softplus(-pairs.values))

    def generator(self, fake: Scores, real: Scores | None) -> Tensor:
        """D's loss with real and generated sentences exchanged."""
        assert real is not None
        return self.discriminator(fake, real)

    def reward(self, fake: Scores, real: Scores | None) -> Tensor:
        """Log sigma(f - r), or f."""
        if self.config.reward == "score":
            return fake.values
        assert real is not None
        return -softplus(-fake.minus(real).values)
