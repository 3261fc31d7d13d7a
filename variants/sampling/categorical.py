"""Categorical sampling: a word drawn from softmax(l); D sees the word itself, no gradient passes.

For likelihood training and for score-function estimators.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from core.config import StrategyConfig
from core.nn.gumbel import gumbel
from core.nn.words import TokenWords
from core.protocols import Generator, Seeds
from core.seeding import draw_seeds


class Categorical:
    """A draw from softmax(l); D sees token ids."""

    class Config(StrategyConfig):
        """No settings."""

        name: Literal["categorical"] = "categorical"

    offers = frozenset({"hard_words", "likelihood"})
    needs: ClassVar[dict[str, str]] = {"estimator": "score_function"}
    paper = ""
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
        raise AssertionError("categorical sampling feeds words back")

    def words(
        self,
        generator: Generator,
        tokens: Tensor,
        hidden: Tensor,
        seeds: Seeds,
        temperature: float,
        mask: Tensor | None,
    ) -> TokenWords:
        """The words (N, S)."""
        return TokenWords(tokens, mask)
