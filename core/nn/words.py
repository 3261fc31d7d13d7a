"""Sentences as a discriminator sees them: its bias-free first layer applied to them, without a
one-hot ever being built. Distributions are in `core.nn.mixture`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.types import END, PAD, DiscriminatorInput


@dataclass(frozen=True)
class TokenWords:
    """Hard words: `embed` is a table look-up."""

    tokens: Tensor  # (N, S) int64
    mask: Tensor | None = None

    def embed(self, weight: Tensor) -> Tensor:
        """Rows of `weight` (V, E): (N, S, E)."""
        return torch.nn.functional.embedding(self.tokens, weight)

    def chunk(self, count: int) -> list[TokenWords]:
        """The same sentences in `count` equal batches."""
        tokens = self.tokens.chunk(count)
        masks = self.mask.chunk(count) if self.mask is not None else [None] * count
        return [TokenWords(t, m) for t, m in zip(tokens, masks, strict=True)]

    def take(self, rows: Tensor) -> TokenWords:
        """The sentences `rows` (K,)."""
        return TokenWords(self.tokens[rows], None if self.mask is None else self.mask[rows])

    def mean(self, vocabulary: int) -> Tensor:
        """Share of each word at each position over the batch, (S, V)."""
        N, S = self.tokens.shape
        counts = torch.zeros(S, vocabulary, device=self.tokens.device)
        seen = torch.ones_like(self.tokens) if self.mask is None else self.mask
        ones = seen.to(counts.dtype)
        return counts.scatter_add_(1, self.tokens.T, ones.T) / N


def mean_difference(real: DiscriminatorInput, fake: DiscriminatorInput, vocabulary: int) -> Tensor:
    """The original's progress curve: sum over positions and words of |mean real - mean fake|.

    Between 0 and 2 S; 0 says only that the words are right position by position. Hidden words do
    not count.
    """
    return (real.mean(vocabulary) - fake.mean(vocabulary)).abs().sum()


def longest_of(tokens: Tensor) -> int:
    """Length of the longest of sentences (N, S), the end token included."""
    return int((tokens != PAD).sum(1).max())


def visible(tokens: Tensor) -> Tensor:
    """Mask (N, S), True up to and including the first end token of each row of tokens (N, S)."""
    ended = (tokens == END).cumsum(dim=1)
    return (ended - (tokens == END).long()) == 0


def longest(mask: Tensor | None, length: int) -> int:
    """Length of the longest sentence of a mask (N, S); `length` where nothing is masked."""
    return length if mask is None else int(mask.any(0).sum())


def movable(words: DiscriminatorInput) -> bool:
    """Whether its sentences may change places: not where chance was drawn for all as one batch."""
    return words.take(torch.arange(0)) is not None


def lengths(*words: DiscriminatorInput) -> Tensor | None:
    """Of each sentence, or of the longest of those that stand beside each other, how many words
    are seen (N,); None where nothing is hidden.
    """
    masks = [each.mask for each in words if each.mask is not None]
    return torch.stack(masks).any(0).sum(1) if masks else None
