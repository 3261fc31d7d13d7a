"""What samplings that draw a word from softmax(l) share: the draw, and that it is fed back."""

from __future__ import annotations

import torch
from torch import Tensor

from core.interfaces import Generator
from core.nn.gumbel import gumbel
from core.seeding import draw_seeds
from core.types import Seeds


class WordsDrawn:
    """The word is argmax(l + g), g Gumbel noise: a draw from softmax(l) (Gumbel 1954).

    A sampling adds what D sees of it (`words`), and `feedback` if the next step is fed a mixture.
    """

    soft_feedback = False

    def randomness(self, batches: int, rng: torch.Generator) -> Seeds:
        """The seeds of the Gumbel noise."""
        return draw_seeds(batches, rng)

    def select(self, logits: Tensor, step: int, seeds: Seeds, temperature: float) -> Tensor:
        """argmax(l + g): (N, V) to (N,)."""
        return logits.add_(gumbel(seeds, step, logits)).max(dim=-1).indices

    def feedback(
        self, generator: Generator, hidden: Tensor, step: int, seeds: Seeds, temperature: float
    ) -> Tensor:
        """Never asked for: the word is fed back."""
        raise AssertionError(f"{type(self).__name__} feeds words back")
