"""Gumbel-softmax sampling: D sees softmax((l + g) / tau), the word is argmax(l + g)
(Jang et al. 2017, Maddison et al. 2017).

The next step is fed that word without gradient (`feedback = "hard"`, as RelGAN, Nie et al. 2019)
or the mixture itself with gradient (`feedback = "soft"`, as GSGAN, Kusner & Hernandez-Lobato
2016).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from core.config import StrategyConfig
from core.nn.gumbel import gumbel, gumbel_steps
from core.nn.words import SoftWords
from core.protocols import Generator
from core.seeding import draw_seed


class GumbelSoftmax:
    """A draw from softmax(l), relaxed so that a gradient passes."""

    class Config(StrategyConfig):
        """What the next step is fed."""

        name: Literal["gumbel_softmax"] = "gumbel_softmax"
        feedback: Literal["hard", "soft"] = "hard"

    offers = frozenset({"differentiable_words", "likelihood"})
    needs: ClassVar[dict[str, str]] = {"temperature": "temperature"}
    paper = "Jang et al. 2017; Maddison et al. 2017"

    def __init__(self, config: Config) -> None:
        self.soft_feedback = config.feedback == "soft"

    def randomness(self, count: int, rng: torch.Generator) -> int:
        """The seed of the Gumbel noise."""
        return draw_seed(rng)

    def select(self, logits: Tensor, step: int, seed: int, temperature: float) -> Tensor:
        """argmax(l + g): a draw from softmax(l), (N, V) to (N,)."""
        return (logits + gumbel(seed, step, logits)).argmax(dim=-1)

    def feedback(self, logits: Tensor, step: int, seed: int, temperature: float) -> Tensor:
        """softmax((l + g) / tau), (N, V)."""
        return ((logits + gumbel(seed, step, logits)) / temperature).softmax(dim=-1)

    def words(
        self,
        generator: Generator,
        tokens: Tensor,
        hidden: Tensor,
        seed: int,
        temperature: float,
        mask: Tensor | None,
    ) -> SoftWords:
        """softmax((l + g) / tau), (N, S, V), with the noise that selected the words."""
        logits = generator.logits(hidden)
        return SoftWords(((logits + gumbel_steps(seed, logits)) / temperature).softmax(-1), mask)
