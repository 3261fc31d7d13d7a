"""Non-saturating objective: D: E sp(-r) + E sp(f); G: E sp(-f) (Goodfellow et al. 2014,
section 3).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import softplus

from core.config import StrategyConfig
from core.training.losses import Smoothing, cross_entropy
from core.types import Scores


class NonSaturating:
    """Cross-entropy for both: G maximises log sigma(f), which does not saturate."""

    class Config(StrategyConfig):
        """How far D's label of real sentences stays below 1."""

        name: Literal["non_saturating"] = "non_saturating"
        label_smoothing: Smoothing = 0.0

    offers = frozenset({"scores", "log_ratio", "mean_over_sentences"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "Goodfellow et al. 2014"
    relativistic = False
    uses_features = False

    def __init__(self, config: Config) -> None:
        self.smoothing = config.label_smoothing

    def discriminator(self, real: Scores, fake: Scores) -> Tensor:
        """E sp(-r) + E sp(f), real labels smoothed."""
        return cross_entropy(real, fake, self.smoothing)

    def generator(self, fake: Scores, real: Scores | None) -> Tensor:
        """E sp(-f)."""
        return fake.mean(softplus(-fake.values))

    def reward(self, fake: Scores, real: Scores | None) -> Tensor:
        """Log sigma(f), that is -sp(-f)."""
        return -softplus(-fake.values)
