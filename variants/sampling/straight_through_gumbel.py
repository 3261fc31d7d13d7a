"""Straight-through Gumbel sampling: the word is argmax(l + g), a draw from softmax(l); D sees that
word, its gradient goes on as if D had seen softmax((l + g) / tau) (Jang et al. 2017, section 2.2).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from core.config import StrategyConfig
from core.interfaces import Generator
from core.nn.discriminator_input import StraightThroughTokens, TokenMixture
from core.nn.gumbel import GumbelMax
from core.types import Seeds


class StraightThroughGumbel(GumbelMax):
    """A hard word forwards, Gumbel-softmax backwards."""

    class Config(StrategyConfig):
        """No settings."""

        name: Literal["straight_through_gumbel"] = "straight_through_gumbel"

    offers = frozenset({"differentiable_words", "likelihood"})
    needs: ClassVar[dict[str, str]] = {"temperature": "temperature"}
    paper = "Jang et al. 2017"

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
        """The words, with the gradient of softmax((l + g) / tau)."""
        return StraightThroughTokens(
            tokens, TokenMixture(hidden, generator.head, seeds, temperature, mask)
        )
