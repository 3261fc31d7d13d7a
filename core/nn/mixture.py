"""Distributions over V words as D (or the next step) sees them, without ever holding them.

A word of the mixture is p = softmax((l + g) / tau), l = head(hidden), g Gumbel noise or nothing;
what is wanted of it is p W for some table W (V, F): attention over the vocabulary. Forward and
backward walk the steps one by one and compute p (N, V) anew, so memory is O(N V), not O(N S V).

Backward, with G the gradient at p W: dW = p^T G; dl = p * (G W^T - sum(p W * G)) / tau.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from core.nn.gumbel import gumbel
from core.nn.linear import linear, product
from core.nn.words import longest
from core.types import Seeds


@dataclass(frozen=True)
class MixedWords:
    """N sentences of S distributions; gradient reaches `hidden`, the head and W."""

    hidden: Tensor  # (N, S, E)
    head: nn.Linear  # E to V
    seeds: Seeds  # of the Gumbel noise; none: no noise
    temperature: float
    mask: Tensor | None = None  # (N, S)
    start: int = 0  # step of the first position

    def embed(self, weight: Tensor) -> Tensor:
        """Expected row of `weight` (V, F): (N, S, F); zero behind the longest visible sentence."""
        S = self.hidden.shape[1]
        steps = longest(self.mask, S)
        parts = (self.hidden[:, :steps], self.head.weight, self.head.bias, weight)
        result: Tensor = _Mixture.apply(  # type: ignore[no-untyped-call]
            *parts, self.seeds, self.temperature, self.start
        )
        return result if steps == S else pad(result, (0, 0, 0, S - steps))

    def chunk(self, count: int) -> list[MixedWords]:
        """The same sentences in `count` equal batches; drawn with as many seeds, or a multiple."""
        masks = self.mask.chunk(count) if self.mask is not None else [None] * count
        share = len(self.seeds) // count
        return [
            MixedWords(
                hidden, self.head, self.seeds[i * share : (i + 1) * share], self.temperature, mask
            )
            for i, (hidden, mask) in enumerate(zip(self.hidden.chunk(count), masks, strict=True))
        ]

    def take(self, rows: Tensor) -> MixedWords | None:
        """The sentences `rows` (K,); None with Gumbel noise, which is a batch's."""
        if self.seeds:
            return None
        mask = None if self.mask is None else self.mask[rows]
        return replace(self, hidden=self.hidden[rows], mask=mask)

    def mean(self, vocabulary: int) -> Tensor:
        """Mean distribution at each position over the batch, (S, V); hidden words are zero."""
        with torch.no_grad():
            head = (self.head.weight, self.head.bias)
            means = []
            for t, h in enumerate(self.hidden.unbind(1)):
                p = distribution(h, *head, self.seeds, self.start + t, self.temperature)
                means.append((p if self.mask is None else p * self.mask[:, t, None]).mean(0))
        return torch.stack(means)


def distribution(
    hidden: Tensor, weight: Tensor, bias: Tensor, seeds: Seeds, step: int, temperature: float
) -> Tensor:
    """P (N, V) of one step from hidden (N, E)."""
    logits = linear(hidden, weight, bias)
    if seeds:
        logits.add_(gumbel(seeds, step, logits))
    if temperature != 1.0:
        logits.div_(temperature)
    return logits.softmax(-1)


class _Mixture(torch.autograd.Function):
    """P W for every step; see the module."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        table: Tensor,
        seeds: Seeds,
        temperature: float,
        start: int,
    ) -> Tensor:
        out = hidden.new_empty(*hidden.shape[:2], table.shape[1])
        for t in range(hidden.shape[1]):
            p = distribution(hidden[:, t], weight, bias, seeds, start + t, temperature)
            out[:, t] = product(p, table.T)
        ctx.save_for_backward(hidden, weight, bias, table, out)
        ctx.rest = seeds, temperature, start
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, table, out = ctx.saved_tensors
        seeds, temperature, start = ctx.rest
        of_hidden, of_head, _, of_table = ctx.needs_input_grad[:4]
        d_hidden = torch.empty_like(hidden) if of_hidden else None
        d_weight = torch.zeros_like(weight) if of_head else None
        d_bias = torch.zeros_like(bias) if of_head else None
        d_table = torch.zeros_like(table) if of_table else None
        for t in range(hidden.shape[1]):
            h, g = hidden[:, t], gradient[:, t]
            p = distribution(h, weight, bias, seeds, start + t, temperature)
            if d_table is not None:
                d_table.addmm_(p.T, g)
            if not (of_hidden or of_head):
                continue
            inner = (out[:, t] * g).sum(-1, keepdim=True)
            d_logits = p.mul_(product(g, table).sub_(inner)).div_(temperature)  # (N, V)
            if d_hidden is not None:
                d_hidden[:, t] = product(d_logits, weight.T)
            if d_weight is not None and d_bias is not None:
                d_weight.addmm_(d_logits.T, h)
                d_bias.add_(d_logits.sum(0))
        return d_hidden, d_weight, d_bias, d_table, None, None, None
