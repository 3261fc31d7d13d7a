"""The token is argmax(l + g); D sees softmax((l + g) / tau) (Jang et al. 2017, Maddison et al.
2017).

The next step is fed the token without gradient (`feedback = "hard"`: RelGAN, Nie et al. 2019) or
the distribution with gradient (`feedback = "soft"`: GSGAN, Kusner & Hernandez-Lobato 2016).
"""

from typing import Literal

from core.config import StrategyConfig
from variants.sampling import SampledTokens


class GumbelSoftmax(SampledTokens):
    """A draw from softmax(l); D sees its Gumbel-softmax relaxation."""

    class Config(StrategyConfig):
        """What the next step is fed."""

        feedback: Literal["hard", "soft"] = "hard"

    offers = frozenset({"differentiable_tokens", "likelihood"})
    paper = "Jang et al. 2017; Maddison et al. 2017"
    tempered = True

    def __init__(self, config: Config) -> None:
        self.soft_feedback = config.feedback == "soft"
