"""Sentences as a discriminator (or the next step) sees them, through its bias-free first layer W
(V, F), without a one-hot or a distribution over V tokens ever held for all steps.

    HardTokens              W[token], a look-up
    TokenMixture            p W with p = softmax((l + g) / tau), l = head(hidden), g Gumbel noise or
                            nothing: attention over the vocabulary
    StraightThroughTokens   forward W[token], backward the gradient of p W (Bengio et al. 2013)

The last two compute p (N, V) step by step, forward and again backward, so memory is O(N V), not
O(N S V). With G the gradient at the result, and y = p W:

    dl = p * (G W^T - sum(y G)) / tau;  dW = p^T G, or dW[token] += G of a look-up
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding, linear, pad

from core.kernels.torch import TORCH, Kernels
from core.nn.noise import gumbel_noise
from core.types import DiscriminatorInput, Seeds


@dataclass(frozen=True)
class HardTokens:
    """Token ids."""

    tokens: Tensor  # (N, S) int64
    mask: Tensor | None = None

    def embed(self, weight: Tensor) -> Tensor:
        """Rows of `weight` (V, F): (N, S, F)."""
        return embedding(self.tokens, weight)

    def chunk(self, count: int) -> list[HardTokens]:
        """The same sentences in `count` equal batches."""
        pairs = zip(self.tokens.chunk(count), _chunks(self.mask, count), strict=True)
        return [HardTokens(tokens, mask) for tokens, mask in pairs]

    def take(self, rows: Tensor) -> HardTokens:
        """The sentences `rows` (K,)."""
        return HardTokens(self.tokens[rows], None if self.mask is None else self.mask[rows])

    def mean(self, vocabulary: int) -> Tensor:
        """Share of each token at each position over the batch, (S, V)."""
        N, S = self.tokens.shape
        counts = torch.zeros(S, vocabulary, device=self.tokens.device)
        visible = torch.ones_like(self.tokens) if self.mask is None else self.mask
        return counts.scatter_add_(1, self.tokens.T, visible.to(counts.dtype).T) / N


@dataclass(frozen=True)
class TokenMixture:
    """N sentences of S distributions; gradient reaches `hidden`, the head and W."""

    hidden: Tensor  # (N, S, E)
    head: nn.Linear  # E to V
    seeds: Seeds  # of the Gumbel noise; none: no noise
    temperature: float
    mask: Tensor | None = None  # (N, S)
    start: int = 0  # step of the first position
    kernels: Kernels = TORCH  # of the Gumbel noise

    def embed(self, weight: Tensor) -> Tensor:
        """Expected row of `weight` (V, F): (N, S, F); zero after the longest visible sentence."""
        S = self.hidden.shape[1]
        steps = longest(self.mask, S)
        hidden, head = self.hidden[:, :steps], self.head
        result: Tensor = _Mixture.apply(hidden, head.weight, head.bias, weight, self, None)  # type: ignore[no-untyped-call]
        return result if steps == S else pad(result, (0, 0, 0, S - steps))

    def chunk(self, count: int) -> list[TokenMixture]:
        """The same sentences in `count` equal batches; drawn with as many seeds, or a multiple."""
        share = len(self.seeds) // count
        pairs = zip(self.hidden.chunk(count), _chunks(self.mask, count), strict=True)
        return [
            replace(self, hidden=hidden, seeds=self.seeds[i * share : (i + 1) * share], mask=mask)
            for i, (hidden, mask) in enumerate(pairs)
        ]

    def take(self, rows: Tensor) -> TokenMixture | None:
        """The sentences `rows` (K,); None with Gumbel noise, which is drawn for a whole batch."""
        if self.seeds:
            return None
        mask = None if self.mask is None else self.mask[rows]
        return replace(self, hidden=self.hidden[rows], mask=mask)

    def mean(self, vocabulary: int) -> Tensor:
        """Mean distribution at each position over the batch, (S, V); masked positions are zero."""
        means = []
        with torch.no_grad():
            for t, hidden in enumerate(self.hidden.unbind(1)):
                p = self.distribution(hidden, t, self.head.weight, self.head.bias)
                means.append((p if self.mask is None else p * self.mask[:, t, None]).mean(0))
        return torch.stack(means)

    def distribution(self, hidden: Tensor, t: int, weight: Tensor, bias: Tensor) -> Tensor:
        """P (N, V) at position t from hidden (N, E) and the head's weights, without gradient."""
        logits = linear(hidden, weight, bias)
        if self.seeds:
            logits.add_(gumbel_noise(self.kernels, self.seeds, self.start + t, logits))
        if self.temperature != 1.0:
            logits.div_(self.temperature)
        return logits.softmax(-1)


@dataclass(frozen=True)
class StraightThroughTokens:
    """N sentences of tokens that were drawn; gradient reaches what they were drawn from."""

    tokens: Tensor  # (N, S)
    mixture: TokenMixture  # the distributions that carry the gradient

    @property
    def mask(self) -> Tensor | None:
        """See `DiscriminatorInput.mask`."""
        return self.mixture.mask

    def embed(self, weight: Tensor) -> Tensor:
        """Rows of `weight` (V, F): (N, S, F)."""
        mixture, head = self.mixture, self.mixture.head
        parts = (mixture.hidden, head.weight, head.bias, weight, mixture, self.tokens)
        return _Mixture.apply(*parts)  # type: ignore[no-untyped-call]

    def chunk(self, count: int) -> list[StraightThroughTokens]:
        """The same sentences in `count` equal batches."""
        pairs = zip(self.tokens.chunk(count), self.mixture.chunk(count), strict=True)
        return [StraightThroughTokens(tokens, mixture) for tokens, mixture in pairs]

    def take(self, rows: Tensor) -> StraightThroughTokens | None:
        """See `TokenMixture.take`."""
        mixture = self.mixture.take(rows)
        return None if mixture is None else StraightThroughTokens(self.tokens[rows], mixture)

    def mean(self, vocabulary: int) -> Tensor:
        """Share of each token at each position over the batch, (S, V)."""
        return HardTokens(self.tokens, self.mask).mean(vocabulary)


class _Mixture(torch.autograd.Function):
    """P W of every step, or with tokens the rows W[token]; see the module."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, table: Tensor,
        mixture: TokenMixture, tokens: Tensor | None,
    ) -> Tensor:  # fmt: skip
        if tokens is not None:
            out = embedding(tokens, table)
        else:
            out = hidden.new_empty(*hidden.shape[:2], table.shape[1])
            for t in range(hidden.shape[1]):
                p = mixture.distribution(hidden[:, t], t, weight, bias)
                out[:, t] = linear(p, table.T)
        ctx.save_for_backward(hidden, weight, bias, table, out, tokens)
        ctx.mixture = mixture
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, table, out, tokens = ctx.saved_tensors
        of_hidden, of_head, _, of_table = ctx.needs_input_grad[:4]
        d_hidden = torch.empty_like(hidden) if of_hidden else None
        d_weight = torch.zeros_like(weight) if of_head else None
        d_bias = torch.zeros_like(bias) if of_head else None
        d_table = torch.zeros_like(table) if of_table else None
        if d_table is not None and tokens is not None:
            d_table.index_add_(0, tokens.flatten(), gradient.flatten(0, 1))
        steps = hidden.shape[1] if of_hidden or of_head or tokens is None else 0
        for t in range(steps):
            h, g = hidden[:, t], gradient[:, t]
            p = ctx.mixture.distribution(h, t, weight, bias)
            if d_table is not None and tokens is None:
                d_table.addmm_(p.T, g)
            if not (of_hidden or of_head):
                continue
            slope = linear(g, table)  # (N, V)
            y_g = (out[:, t] * g) if tokens is None else (p * slope)
            d_logits = p.mul_(slope.sub_(y_g.sum(-1, keepdim=True))).div_(ctx.mixture.temperature)
            if d_hidden is not None:
                d_hidden[:, t] = linear(d_logits, weight.T)
            if d_weight is not None and d_bias is not None:
                d_weight.addmm_(d_logits.T, h)
                d_bias.add_(d_logits.sum(0))
        return d_hidden, d_weight, d_bias, d_table, None, None


def _chunks(mask: Tensor | None, count: int) -> list[Tensor] | list[None]:
    return [None] * count if mask is None else list(mask.chunk(count))


def mean_difference(real: DiscriminatorInput, fake: DiscriminatorInput, vocabulary: int) -> Tensor:
    """The original's progress curve: sum over positions and tokens of |mean real - mean fake|.

    Between 0 and 2 S; 0 says only that the tokens are right position by position. Masked positions
    do not count.
    """
    return (real.mean(vocabulary) - fake.mean(vocabulary)).abs().sum()


def longest(mask: Tensor | None, length: int) -> int:
    """Length of the longest sentence of a mask (N, S); `length` where nothing is masked."""
    return length if mask is None else int(mask.any(0).sum())


def movable(sentences: DiscriminatorInput) -> bool:
    """Whether the order of the sentences may change; not if noise was drawn for all as a batch."""
    return sentences.take(torch.arange(0)) is not None


def lengths(*batches: DiscriminatorInput) -> Tensor | None:
    """Visible tokens of each sentence (N,), or of the longest of those in the same row of several
    batches; None where nothing is masked.
    """
    masks = [each.mask for each in batches if each.mask is not None]
    return torch.stack(masks).any(0).sum(1) if masks else None
