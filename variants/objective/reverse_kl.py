"""Reverse-KL objective: D: E sp(-r) + E sp(f); G: -E f.

At D's optimum f = log p_data - log p_G, so that G's loss is KL(p_G || p_data)
(Sonderby et al. 2017; TaylorGAN, Lin et al. 2020).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from core.config import StrategyConfig
from core.training.losses import Smoothing, cross_entropy
from core.types import Scores


class ReverseKL:
    """Cross-entropy for D; G maximises the log-odds themselves."""

    class Config(StrategyConfig):
        """How far D's label of real sentences stays below 1."""

        name: Literal["reverse_kl"] = "reverse_kl"
        label_smoothing: Smoothing = 0.0

    offers = frozenset({"scores", "log_ratio", "mean_over_sentences"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "Sonderby et al. 2017; Lin et al. 2020"
    relativistic = False
    uses_features = False

    def __init__(self, config: Config) -> None:
        self.smoothing = config.label_smoothing

    def discriminator(self, real: Scores, fake: Scores) -> Tensor:
        """E sp(-r) + E sp(f), real labels smoothed."""
        return cross_entropy(real, fake, self.smoothing)

    def generator(self, fake: Scores, real: Scores | None) -> Tensor:
        """-E f."""
        return -fake.mean()

    def reward(self, fake: Scores, real: Scores | None) -> Tensor:
        """The score itself, D's estimate of log p_data - log p_G."""
        return fake.values
