"""Gradient-detached sampling: the likeliest word is fed back as a constant; D sees softmax(l).

All chance comes from the noise that the generator reads, so the temperature has nothing to divide.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from core.config import StrategyConfig
from core.interfaces import Generator
from core.nn.discriminator_input import TokenMixture
from core.types import Seeds


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

    def randomness(self, batches: int, rng: torch.Generator) -> Seeds:
        """Draws nothing."""
        return ()

    def select(self, logits: Tensor, step: int, seeds: Seeds, temperature: float) -> Tensor:
        """Argmax of (N, V): (N,)."""
        return logits.max(dim=-1).indices  # three times as fast as argmax

    def feedback(
        self, generator: Generator, hidden: Tensor, step: int, seeds: Seeds, temperature: float
    ) -> Tensor:
        """Never asked for: the feedback is a word."""
        raise AssertionError("detached sampling feeds words back")

    def discriminator_input(
        self,
        generator: Generator,
        tokens: Tensor,
        hidden: Tensor,
        seeds: Seeds,
        temperature: float,
        mask: Tensor | None,
    ) -> TokenMixture:
        """softmax(l), (N, S, V)."""
        return TokenMixture(hidden, generator.head, (), 1.0, mask)
