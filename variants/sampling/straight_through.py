"""Straight-through sampling: a word drawn from softmax(l); D sees that word, its gradient goes
on as if D had seen softmax(l) (Bengio et al. 2013).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from core.config import StrategyConfig
from core.interfaces import Generator
from core.nn.discriminator_input import StraightThroughTokens, TokenMixture
from core.nn.gumbel import GumbelMax
from core.types import Seeds


class StraightThrough(GumbelMax):
    """A hard word forwards, softmax(l) backwards."""

    class Config(StrategyConfig):
        """No settings."""

        name: Literal["straight_through"] = "straight_through"

    offers = frozenset({"differentiable_words", "likelihood"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "Bengio et al. 2013"

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
    ) -> StraightThroughTokens:
        """The words, with the gradient of softmax(l)."""
        return StraightThroughTokens(tokens, TokenMixture(hidden, generator.head, (), 1.0, mask))
