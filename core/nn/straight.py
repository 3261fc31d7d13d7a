"""Words that are hard forwards and distributions backwards: the straight-through estimator
(Bengio et al. 2013).

Forward a look-up, W[token]; backward the gradient of p W with p = softmax((l + g) / tau), as
`core.nn.mixture` computes it, step by step and never held whole. With G the gradient at the
result: dW[token] += G; dl = p * (G W^T - sum(p W * G)) / tau.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from core.nn.mixture import MixedWords, distribution
from core.nn.words import TokenWords
from core.types import Seeds


@dataclass(frozen=True)
class StraightWords:
    """N sentences of words that were drawn; gradient reaches what they were drawn from."""

    tokens: Tensor  # (N, S)
    mixed: MixedWords  # the distributions that carry the gradient

    @property
    def mask(self) -> Tensor | None:
        """See `Words.mask`."""
        return self.mixed.mask

    def embed(self, weight: Tensor) -> Tensor:
        """Rows of `weight` (V, F): (N, S, F)."""
        mixed, head = self.mixed, self.mixed.head
        parts = (mixed.hidden, head.weight, head.bias, weight)
        result: Tensor = _Straight.apply(  # type: ignore[no-untyped-call]
            *parts, self.tokens, mixed.seeds, mixed.temperature
        )
        return result

    def chunk(self, count: int) -> list[StraightWords]:
        """The same sentences in `count` equal batches."""
        pairs = zip(self.tokens.chunk(count), self.mixed.chunk(count), strict=True)
        return [StraightWords(tokens, mixed) for tokens, mixed in pairs]

    def take(self, rows: Tensor) -> StraightWords | None:
        """See `MixedWords.take`."""
        mixed = self.mixed.take(rows)
        return None if mixed is None else StraightWords(self.tokens[rows], mixed)

    def mean(self, vocabulary: int) -> Tensor:
        """Share of each word at each position over the batch, (S, V)."""
        return TokenWords(self.tokens).mean(vocabulary)


class _Straight(torch.autograd.Function):
    """See the module."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        table: Tensor,
        tokens: Tensor,
        seeds: Seeds,
        temperature: float,
    ) -> Tensor:
        ctx.save_for_backward(hidden, weight, bias, table, tokens)
        ctx.rest = seeds, temperature
        return torch.nn.functional.embedding(tokens, table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, table, tokens = ctx.saved_tensors
        seeds, temperature = ctx.rest
        of_hidden, of_head, _, of_table = ctx.needs_input_grad[:4]
        d_table = None
        if of_table:
            d_table = torch.zeros_like(table)
            d_table.index_add_(0, tokens.flatten(), gradient.flatten(0, 1))
        d_hidden = d_weight = d_bias = None
        if of_hidden or of_head:
            d_hidden, d_weight = torch.empty_like(hidden), torch.zeros_like(weight)
            d_bias = torch.zeros_like(bias)
            for t in range(hidden.shape[1]):
                h = hidden[:, t]
                p = distribution(h, weight, bias, seeds, t, temperature)
                slope = gradient[:, t] @ table.T  # (N, V)
                inner = (p * slope).sum(-1, keepdim=True)
                d_logits = p.mul_(slope.sub_(inner)).div_(temperature)
                d_hidden[:, t] = d_logits @ weight
                d_weight.addmm_(d_logits.T, h)
                d_bias.add_(d_logits.sum(0))
        return d_hidden, d_weight, d_bias, d_table, None, None, None
