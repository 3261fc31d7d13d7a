"""Straight-through Gumbel sampling: the word is argmax(l + g), a draw from softmax(l); D sees that
word, its gradient goes on as if D had seen softmax((l + g) / tau) (Jang et al. 2017, section 2.2).
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


class StraightThroughGumbel:
    """A hard word forwards, Gumbel-softmax backwards."""

    class Config(StrategyConfig):
        """No settings."""

        name: Literal["straight_through_gumbel"] = "straight_through_gumbel"

    offers = frozenset({"differentiable_words", "likelihood"})
    needs: ClassVar[dict[str, str]] = {"temperature": "temperature"}
    paper = "Jang et al. 2017"
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
        """The words, with the gradient of softmax((l + g) / tau)."""
        return StraightWords(tokens, MixedWords(hidden, generator.head, seeds, temperature, mask))
