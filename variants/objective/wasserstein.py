"""Wasserstein objective: D maximises E r - E f, G maximises E f (Arjovsky et al. 2017)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from core.config import StrategyConfig
from core.types import Scores


class Wasserstein:
    """Difference of mean scores; wants a Lipschitz D, so a penalty."""

    class Config(StrategyConfig):
        """No settings."""

        name: Literal["wasserstein"] = "wasserstein"

    offers = frozenset({"scores", "mean_over_sentences"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "Arjovsky et al. 2017"
    relativistic = False
    uses_features = False

    def __init__(self, config: Config) -> None:
        pass

    def discriminator(self, real: Scores, fake: Scores) -> Tensor:
        """E f - E r."""
        return fake.mean() - real.mean()

    def generator(self, fake: Scores, real: Scores | None) -> Tensor:
        """-E f."""
        return -fake.mean()

    def reward(self, fake: Scores, real: Scores | None) -> Tensor:
        """The score itself."""
        return fake.values
