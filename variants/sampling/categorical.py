"""Categorical sampling: a word drawn from softmax(l); D sees the word itself, no gradient passes.

For likelihood training and for score-function estimators.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from core.config import StrategyConfig
from core.interfaces import Generator
from core.nn.discriminator_input import HardTokens
from core.nn.gumbel import GumbelMax
from core.types import Seeds


class Categorical(GumbelMax):
    """A draw from softmax(l); D sees token ids."""

    class Config(StrategyConfig):
        """No settings."""

        name: Literal["categorical"] = "categorical"

    offers = frozenset({"hard_words", "likelihood"})
    needs: ClassVar[dict[str, str]] = {"estimator": "score_function"}
    paper = ""

    def __init__(self, config: Config) -> None:
        pass

    def discriminator_input(
        self,
        generator: Generator,
        tokens: Tensor,
        hidden: Tensor,
        seeds: Seeds,
        temperature: float,
        mask: Tensor | None,
    ) -> HardTokens:
        """The words (N, S)."""
        return HardTokens(tokens, mask)
