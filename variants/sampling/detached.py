"""Gradient-detached sampling: the likeliest word is fed back as a constant; D sees softmax(l).

All chance comes from the noise that the generator reads, so the temperature has nothing to divide.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from core.config import StrategyConfig
from core.nn.words import SoftWords
from core.protocols import Generator


class Detached:
    """Argmax, fed back without gradient; D sees the distribution itself."""

    class Config(StrategyConfig):
        """No settings."""

        name: Literal["detached"] = "detached"

    offers = frozenset({"differentiable_words"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "the original gan_textgen"
    soft_feedback = False

    def __init__(self, config: Config) -> None:
        pass

    def randomness(self, count: int, rng: torch.Generator) -> int:
        """Draws nothing."""
        return 0

    def select(self, logits: Tensor, step: int, seed: int, temperature: float) -> Tensor:
        """Argmax of (N, V): (N,)."""
        return logits.argmax(dim=-1)

    def feedback(self, logits: Tensor, step: int, seed: int, temperature: float) -> Tensor:
        """Never asked for: the feedback is a word."""
        raise AssertionError("detached sampling feeds words back")

    def words(
        self,
        generator: Generator,
        tokens: Tensor,
        hidden: Tensor,
        seed: int,
        temperature: float,
        mask: Tensor | None,
    ) -> SoftWords:
        """softmax(l), (N, S, V)."""
        return SoftWords(generator.logits(hidden).softmax(dim=-1), mask)
