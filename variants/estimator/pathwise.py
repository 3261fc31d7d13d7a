"""Pathwise gradient: D's score is differentiated through the words that D sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor

from core.config import StrategyConfig
from core.interfaces import EstimatorContext


class Pathwise:
    """The chain rule through D and what it sees; needs words that carry a gradient."""

    class Config(StrategyConfig):
        """No settings."""

        name: Literal["pathwise"] = "pathwise"

    offers = frozenset({"gradient", "mean_over_sentences"})
    needs: ClassVar[dict[str, str]] = {"sampling": "differentiable_words"}
    paper = "Kingma & Welling 2014"
    target = "relaxed"

    def __init__(self, config: Config) -> None:
        pass

    def prepare(self, context: EstimatorContext) -> tuple[Tensor, ...]:
        """Nothing: a sentence's gradient depends on that sentence alone."""
        return ()

    def loss(self, context: EstimatorContext, prepared: Sequence[Tensor]) -> Tensor:
        """G's objective of D's scores of the words drawn."""
        return context.objective.generator(context.scores(), context.real_scores())
