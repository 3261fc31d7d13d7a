"""Hinge objective: D: E max(0, 1 - r) + E max(0, 1 + f); G: -E f (Lim & Ye 2017)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from core.config import StrategyConfig
from core.types import Scores


class Hinge:
    """D is pushed no further than a margin of 1 on either side."""

    class Config(StrategyConfig):
        """No settings."""

        name: Literal["hinge"] = "hinge"

    offers = frozenset({"scores", "mean_over_sentences"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "Lim & Ye 2017"
    relativistic = False
    uses_features = False

    def __init__(self, config: Config) -> None:
        pass

    def discriminator(self, real: Scores, fake: Scores) -> Tensor:
        """E max(0, 1 - r) + E max(0, 1 + f)."""
        return real.mean((1 - real.values).relu()) + fake.mean((1 + fake.values).relu())

    def generator(self, fake: Scores, real: Scores | None) -> Tensor:
        """-E f."""
        return -fake.mean()

    def reward(self, fake: Scores, real: Scores | None) -> Tensor:
        """The score itself."""
        return fake.values
