"""Straight-through sampling: a word drawn from softmax(l); D sees that word, its gradient goes
on as if D had seen softmax(l) (Bengio et al. 2013).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from core.config import StrategyConfig
from core.nn.gumbel import gumbel
from core.nn.mixture import MixedWords
from core.nn.straight import StraightWords
from core.protocols import Generator, Seeds
from core.seeding import draw_seeds


class StraightThrough:
    """A hard word forwards, softmax(l) backwards."""

    class Config(StrategyConfig):
        """No settings."""

        name: Literal["straight_through"] = "straight_through"

    offers = frozenset({"differentiable_words", "likelihood"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "Bengio et al. 2013"
    soft_feedback = False

    def __init__(self, config: Config) -> None:
        pass

    def randomness(self, batches: int, rng: torch.Generator) -> Seeds:
        """The seeds of the draws."""
        return draw_seeds(batches, rng)

    def select(self, logits: Tensor, step: int, seeds: Seeds, temperature: float) -> Tensor:
        """argmax(l + g), a draw from softmax(l): (N, V) to (N,)."""
        return logits.add_(gumbel(seeds, step, logits)).max(dim=-1).indices

    def feedback(
        self, generator: Generator, hidden: Tensor, step: int, seeds: Seeds, temperature: float
    ) -> Tensor:
        """Never asked for: the feedback is a word."""
        raise AssertionError("straight-through sampling feeds words back")

    def words(
        self,
        generator: Generator,
        tokens: Tensor,
        hidden: Tensor,
        seeds: Seeds,
        temperature: float,
        mask: Tensor | None,
    ) -> StraightWords:
        """The words, with the gradient of softmax(l)."""
        return StraightWords(tokens, MixedWords(hidden, generator.head, (), 1.0, mask))
