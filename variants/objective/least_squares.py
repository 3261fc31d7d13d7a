"""Least-squares objective: D: E (r - 1)^2 / 2 + E f^2 / 2; G: E (f - 1)^2 / 2 (Mao et al. 2017,
equation 9).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from core.config import StrategyConfig
from core.training.losses import Smoothing
from core.types import Scores


class LeastSquares:
    """Scores are drawn to labels, 1 for real and 0 for drawn; both sides have a gradient."""

    class Config(StrategyConfig):
        """How far D's label of real sentences stays below 1."""

        name: Literal["least_squares"] = "least_squares"
        label_smoothing: Smoothing = 0.0

    offers = frozenset({"scores", "mean_over_sentences"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "Mao et al. 2017"
    relativistic = False
    uses_features = False

    def __init__(self, config: Config) -> None:
        self.label = 1 - config.label_smoothing

    def discriminator(self, real: Scores, fake: Scores) -> Tensor:
        """E (r - 1)^2 / 2 + E f^2 / 2."""
        return (real.mean((real.values - self.label) ** 2) + fake.mean(fake.values**2)) / 2

    def generator(self, fake: Scores, real: Scores | None) -> Tensor:
        """E (f - 1)^2 / 2."""
        return fake.mean((fake.values - 1) ** 2) / 2

    def reward(self, fake: Scores, real: Scores | None) -> Tensor:
        """-(f - 1)^2 / 2: a score above 1 is rewarded less again."""
        return -((fake.values - 1) ** 2) / 2
