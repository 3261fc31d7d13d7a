"""Distributions held whole, and one-hot words: what the harness never builds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DenseWords:
    """N sentences of S distributions over V words, (N, S, V)."""

    probabilities: Tensor
    mask: Tensor | None = None

    def embed(self, weight: Tensor) -> Tensor:
        """Expected row of `weight` (V, E): (N, S, E)."""
        return self.probabilities @ weight

    def chunk(self, count: int) -> list[DenseWords]:
        """The same sentences in `count` equal batches."""
        parts = self.probabilities.chunk(count)
        masks = self.mask.chunk(count) if self.mask is not None else [None] * count
        return [DenseWords(p, m) for p, m in zip(parts, masks, strict=True)]

    def mean(self, vocabulary: int) -> Tensor:
        """Mean distribution at each position over the batch, (S, V)."""
        return self.probabilities.mean(dim=0)


def dense_mixture(logits: Tensor, noise: Tensor | None, temperature: float) -> Tensor:
    """softmax((l + g) / tau) of logits (N, S, V)."""
    noisy = logits if noise is None else logits + noise
    return torch.softmax(noisy / temperature, dim=-1)
