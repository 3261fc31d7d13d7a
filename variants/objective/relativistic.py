"""Relativistic objective: D: E sp(-(r - f)); G: E sp(-(f - r)), over pairs of a real and a drawn
sentence (Jolicoeur-Martineau 2019, section 4.1; RelGAN, Nie et al. 2019; R3GAN, Huang et al. 2024).

With a score a step, steps are paired; where only one of the two sentences has a step, the other's
mean stands in.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import softplus

from core.config import StrategyConfig
from core.types import Scores


class Relativistic:
    """D tells which of two sentences is the real one."""

    class Config(StrategyConfig):
        """No settings."""

        name: Literal["relativistic"] = "relativistic"

    offers = frozenset({"scores", "mean_over_sentences"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "Jolicoeur-Martineau 2019"
    relativistic = True
    uses_features = False

    def __init__(self, config: Config) -> None:
        pass

    def discriminator(self, real: Scores, fake: Scores) -> Tensor:
        """E sp(-(r - f))."""
        pairs = real.minus(fake)
        return pairs.mean(softplus(-pairs.values))

    def generator(self, fake: Scores, real: Scores | None) -> Tensor:
        """E sp(-(f - r))."""
        assert real is not None
        pairs = fake.minus(real)
        return pairs.mean(softplus(-pairs.values))

    def reward(self, fake: Scores, real: Scores | None) -> Tensor:
        """Log sigma(f - r)."""
        assert real is not None
        return -softplus(-fake.minus(real).values)
