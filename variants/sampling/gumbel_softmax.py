"""Gumbel-softmax sampling: D sees softmax((l + g) / tau), the word is argmax(l + g)
(Jang et al. 2017, Maddison et al. 2017).

The next step is fed that word without gradient (`feedback = "hard"`, as RelGAN, Nie et al. 2019)
or the mixture itself with gradient (`feedback = "soft"`, as GSGAN, Kusner & Hernandez-Lobato
2016).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from core.config import StrategyConfig
from core.interfaces import Generator
from core.nn.discriminator_input import TokenMixture
from core.nn.gumbel import GumbelMax
from core.types import Seeds


class GumbelSoftmax(GumbelMax):
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

    def feedback(
        self, generator: Generator, hidden: Tensor, step: int, seeds: Seeds, temperature: float
    ) -> Tensor:
        """softmax((l + g) / tau) times the embedding, (N, E)."""
        mixed = TokenMixture(hidden[:, None], generator.head, seeds, temperature, start=step)
        return mixed.embed(generator.embedding.weight)[:, 0]

    def discriminator_input(
        self,
        generator: Generator,
        tokens: Tensor,
        hidden: Tensor,
        seeds: Seeds,
        temperature: float,
        mask: Tensor | None,
    ) -> TokenMixture:
        """softmax((l + g) / tau) at every step, with the noise that selected the words."""
        return TokenMixture(hidden, generator.head, seeds, temperature, mask)
