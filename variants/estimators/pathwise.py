"""Pathwise gradient: D's score is differentiated through the words that D sees."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from core.config import StrategyConfig
from core.protocols import Discriminator, Draw, Objective, Words


class Pathwise:
    """The chain rule through D and what it sees; needs words that carry a gradient."""

    class Config(StrategyConfig):
        """No settings."""

        name: Literal["pathwise"] = "pathwise"

    offers = frozenset({"gradient", "mean_over_sentences"})
    needs: ClassVar[dict[str, str]] = {"sampling": "differentiable_words"}
    paper = "Kingma & Welling 2014"

    def __init__(self, config: Config) -> None:
        pass

    def loss(
        self, draw: Draw, real: Words, discriminator: Discriminator, objective: Objective
    ) -> Tensor:
        """G's objective of D's scores of the words drawn."""
        return objective.generator(discriminator(draw.words), None)
