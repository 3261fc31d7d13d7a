"""D's scores of sentences, and their gradients at D's embeddings, which penalties take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from core.interfaces import Discriminator, Generator, NextTokenDiscriminator
from core.nn.layers import Block
from core.nn.likelihood import IGNORE_INDEX, Table, log_likelihood, negative_log_likelihood
from core.nn.trim import score_by_length
from core.types import PAD, Embedded, Scores


def score(discriminator: Discriminator, embedded: Embedded, features: bool = False) -> Scores:
    """D's scores of sentences after its first layer; with `features` D's features, and zeros as
    scores.
    """
    if features:
        found = discriminator.features(embedded.values, embedded.mask)  # type: ignore[attr-defined]
        return Scores(found.new_zeros(len(found)), None, found)
    x, mask = embedded.values, embedded.mask
    if mask is not None and "trimming" in discriminator.offers:
        values = score_by_length(discriminator.score, x, mask)
    else:
        values = discriminator.score(x, mask)
    return Scores(values, mask if "step_scores" in discriminator.offers else None)


def token_nll(
    generator: Generator, tokens: Tensor, rng: torch.Generator, seen: Tensor | None = None
) -> Tensor:
    """-log p (N, S) of each of the tokens (N, S) in nats, with noise drawn by `rng`; 0 where the
    mask `seen` (N, S) is False, by default at padding. Generated text may have a padding token
    before its end, which is then a token as any other.
    """
    scored = tokens.where(tokens != PAD if seen is None else seen, IGNORE_INDEX)
    hidden = generator.parallel(tokens, generator.draw_noise(len(tokens), rng))
    return negative_log_likelihood(hidden, generator.head, scored, IGNORE_INDEX)


@torch.no_grad()
def log_p_of(generator: Generator, tokens: Tensor, rng: torch.Generator) -> Tensor:
    """G's log p of real tokens (N, S), padding included, in nats."""
    return -token_nll(generator, tokens, rng, torch.ones_like(tokens, dtype=torch.bool))


def log_ratio(
    discriminator: NextTokenDiscriminator, queried: tuple[Tensor, Tensor], tokens: Tensor,
    log_p: Tensor,
) -> Tensor:  # fmt: skip
    """Log q - log p + v of tokens (N, S), with q the softmax of D's scores, `queried` what its
    `queries` returns, log p (N, S) that of G: see `variants/estimator/all_words.py`.
    """
    queries, values = queried
    return log_likelihood(queries, Table(discriminator.output_embedding), tokens) - log_p + values


@contextmanager
def double_backward(discriminator: Discriminator) -> Iterator[None]:
    """What D computes inside can be differentiated twice.

    Its blocks compute in float32 whatever the precision is (a penalty compares a norm with one),
    and not through torch's compiler. Fused attention and cuDNN's recurrent layers, which have no
    second derivative, are off.
    """
    blocks = []
    if isinstance(discriminator, nn.Module):
        blocks = [part for part in discriminator.modules() if isinstance(part, Block)]
    before = [(block.autocast, block.compiled) for block in blocks]
    for block in blocks:
        block.autocast = block.compiled = False
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        for block, flags in zip(blocks, before, strict=True):
            block.autocast, block.compiled = flags


def input_grad(
    discriminator: Discriminator, scores: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    """The gradient of the sum of D's `scores` at embedded tokens x (N, S, E), in their shape;
    differentiable with respect to D and x.
    """
    with double_backward(discriminator):
        (gradient,) = torch.autograd.grad(scores(x).sum(), x, create_graph=True)
    return gradient


def squared_grad_norm(
    discriminator: Discriminator, embedded: Embedded, at_tokens: bool = False, mean: bool = False
) -> Tensor:
    """||grad D(x)||^2 (N,) with respect to embedded tokens x (N, S, E), differentiable in D. D(x)
    is the sum, or the mean, of the scores of a sentence.

    Tokens have neighbours only in the embedding space, so the gradient g is taken there. With
    `at_tokens` it is that at one-hot tokens (N, S, V), g W^T, which is never built: its squared
    norm is sum_s g_s (W^T W) g_s^T, with W (V, E) D's first layer.
    """

    def scores(x: Tensor) -> Tensor:
        found = score(discriminator, Embedded(x, embedded.mask))
        return found.per_sentence() if mean else found.values

    g, W = input_grad(discriminator, scores, embedded.values), discriminator.embedding
    if at_tokens:
        return torch.einsum("nse,ef,nsf->n", g, W.T @ W, g)
    return g.square().sum((1, 2))


class NoisyDiscriminator:
    """D behind instance noise: it sees real and generated sentences through the same Gaussian noise
    of standard deviation `sigma` in its embedding space, so that the two overlap while G is still
    far off (Sonderby et al. 2017; Arjovsky & Bottou 2017).
    """

    def __init__(self, discriminator: Discriminator, sigma: float, rng: torch.Generator) -> None:
        self.discriminator, self.sigma, self.rng = discriminator, sigma, rng
        self.offers, self.embedding = discriminator.offers, discriminator.embedding

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """See `Discriminator.score`."""
        return self.discriminator.score(self._noisy(embedded), mask)

    def features(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Of discriminators that offer them."""
        noisy = self._noisy(embedded)
        return self.discriminator.features(noisy, mask)  # type: ignore[attr-defined]

    @property
    def output_embedding(self) -> Tensor:
        """Of discriminators that score all next tokens."""
        return self.discriminator.output_embedding  # type: ignore[attr-defined]

    def queries(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """Of discriminators that score all next tokens."""
        return self.discriminator.queries(self._noisy(embedded))  # type: ignore[attr-defined]

    def _noisy(self, embedded: Tensor) -> Tensor:
        noise = torch.empty_like(embedded, requires_grad=False).normal_(generator=self.rng)
        return embedded + self.sigma * noise
