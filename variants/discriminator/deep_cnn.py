"""TaylorGAN's discriminator: a stack of convolutions over embeddings that know similar tokens.

A bias-free projection V -> E; four convolutions that keep the length, with an average over pairs of
positions after two of them; the mean over positions; a hidden layer; one score. All activations
are ELU. Tokens after the end are zero vectors in every layer and in no mean.

The paper begins with fastText vectors. Here the projection begins with vectors of the training text
itself: rows of norm 1 of a low-rank factor of the positive pointwise mutual information of tokens
within two steps of each other (Levy & Goldberg 2014). The rank is a tenth of the vocabulary: at
full rank tokens of the same kind are hardly closer than others. Other tokens keep random rows.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, elu, normalize, pad

from core.config import StrategyConfig
from core.training.players import seeded
from core.types import PAD, Shape
from variants.discriminator import EmbeddingDiscriminator, SearchedSize, Size

KERNELS = (3, 4, 3, 4)
MOST_BATCHES = 1000  # of text that the embeddings are made of


class DeepCNNDiscriminator(EmbeddingDiscriminator):
    """TaylorGAN's deep CNN, its embeddings made of the training text; one score per sentence."""

    class Config(StrategyConfig):
        """Sizes, the paper's; `filters` of each convolution, from the text upwards."""

        width: SearchedSize = 300  # E
        filters: tuple[Size, Size, Size, Size] = (512, 512, 1024, 1024)
        hidden: Size = 1024

    offers = frozenset({"embedded_tokens"})
    paper = "Lin et al. 2020"

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(normalize(torch.randn(shape.vocabulary, config.width)))
        sizes = zip((config.width, *config.filters), config.filters, KERNELS, strict=False)
        self.convolutions = nn.ModuleList(nn.Conv1d(*each) for each in sizes)
        self.hidden = nn.Linear(config.filters[-1], config.hidden)
        self.out = nn.Linear(config.hidden, 1)

    @torch.no_grad()
    def read(self, batches: Any) -> None:
        """Begin with embeddings of the training text, `core.training.batches.Batches`."""
        count = min(MOST_BATCHES, batches.per_epoch)
        tokens = torch.cat([batches.batch(number) for number in range(count)])
        vectors = pmi_vectors(tokens, *self.embedding.shape).to(self.embedding)
        self.embedding.copy_(torch.where(vectors.any(1, keepdim=True), vectors, self.embedding))

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Embedded tokens (N, S, E), mask (N, S) True where visible, to scores (N,)."""
        x = embedded.transpose(1, 2)
        seen = x.new_ones(len(x), 1, x.shape[2]) if mask is None else mask.to(x.dtype)[:, None]
        for number, (k, convolution) in enumerate(zip(KERNELS, self.convolutions, strict=True)):
            x = elu(convolution(pad(x * seen, ((k - 1) // 2, k // 2))))
            if number == 1:
                x, share = (avg_pool1d(part, 2, ceil_mode=True) for part in (x * seen, seen))
                x, seen = x / share.clamp(min=0.5), (share > 0).to(x.dtype)
        mean = (x * seen).sum(2) / seen.sum(2)
        return self.out(elu(self.hidden(mean))).squeeze(-1)


def pmi_vectors(tokens: Tensor, V: int, E: int) -> Tensor:
    """Vectors (V, E) of the tokens of a text (N, S), of norm 1, or 0 for tokens it does not have.
    Beyond the rank they are 0.
    """
    near = [torch.stack([tokens[:, :-d].flatten(), tokens[:, d:].flatten()]) for d in (1, 2)]
    pairs = torch.cat([*near, *(each.flip(0) for each in near)], dim=1)  # (2, pairs)
    pairs = pairs[:, (pairs != PAD).all(0)]
    matrix = partial(torch.sparse_coo_tensor, size=(V, V), check_invariants=False)
    counts = matrix(pairs, torch.ones(pairs.shape[1])).coalesce()
    often, (a, b) = torch.bincount(pairs[0], minlength=V), counts.indices()
    pmi = (counts.values() * pairs.shape[1] / (often[a] * often[b])).log().clamp(min=0)
    rank = min(V, E, max(8, V // 10))
    with seeded(0, "vectors"):  # its first guess is random
        u, s, _ = torch.svd_lowrank(matrix(counts.indices(), pmi), rank)
    return normalize(pad(u * s.sqrt(), (0, E - rank))) * (often > 0)[:, None]
