"""N sentences on their way: the noise they come from, how they were drawn, what D is shown of them,
what it says of them. Letters and shapes as in `core/protocols.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import Tensor

from core.nn import trim

if TYPE_CHECKING:
    from core.protocols import Discriminator


NoiseKind = Literal["uniform", "normal", "truncated"]


@dataclass(frozen=True)
class Noise:
    """Everything random that a generator consumes for N sentences, drawn before the first word.

    Drawn once and handed to the step-by-step rollout and to the one-pass evaluation alike, so
    that both compute the same thing.
    """

    latent: Tensor | None  # what the noise mapping maps; its own shape, first axis N
    inputs: Tensor | None  # (N, S, E) or (N, 1, E): noise that asks for the next word
    injected: Tensor | None  # (B, streams, N, S, E) added inside the noise blocks
    seed: int  # of whatever is drawn again at every step (attention = "full")
    count: int  # N
    scale: float = 1.0  # what the noise was multiplied with
    redrawn: bool = False  # noise is drawn again from the seed at every step

    @property
    def silent(self) -> bool:
        """Whether there is no noise at all, and a sentence's likelihood is that of its words."""
        drawn = (self.latent, self.inputs, self.injected)
        return not self.redrawn and all(part is None for part in drawn)


class Words(Protocol):
    """N sentences as a discriminator sees them: indices or distributions."""

    @property
    def mask(self) -> Tensor | None:
        """(N, S) bool, False behind the end token; None when nothing is hidden."""
        ...

    def embed(self, weight: Tensor) -> Tensor:
        """Project with `weight` (V, E) to (N, S, E), without a bias."""
        ...

    def mean(self, vocabulary: int) -> Tensor:
        """Mean distribution over the batch, (S, V)."""
        ...

    def chunk(self, count: int) -> Sequence[Words]:
        """The same sentences in `count` equal batches."""
        ...

    def take(self, rows: Tensor) -> Words | None:
        """The sentences `rows` (K,); None where their chance was drawn for all as one batch."""
        ...


@dataclass(frozen=True)
class Rows:
    """Words after D's first layer, looked up once for everything that D does with them."""

    embedded: Tensor  # (N, S, E)
    mask: Tensor | None = None  # (N, S) bool, False behind the end

    @classmethod
    def of(cls, words: Words, weight: Tensor) -> Rows:
        """Embed words with D's first layer `weight` (V, E). Behind the end stands zero: a penalty
        between two sentences sees no word there, whatever the longest of the batch is.
        """
        embedded, mask = words.embed(weight), words.mask
        return cls(embedded if mask is None else embedded * mask.unsqueeze(-1), mask)

    def __add__(self, other: Rows) -> Rows:
        """Both batches in one; either both have a mask or neither."""
        masks = None
        if self.mask is not None and other.mask is not None:
            masks = torch.cat([self.mask, other.mask])
        return Rows(torch.cat([self.embedded, other.embedded]), masks)


@dataclass(frozen=True)
class Scores:
    """D's verdict on N sentences: one number for each, one for each of its steps, or one for each
    of R representations of it.
    """

    values: Tensor  # (N,), (N, S) or (N, R); zero where only features are asked for
    mask: Tensor | None = None  # (N, S) of per-step scores, False behind the end
    features: Tensor | None = None  # (N, F), for objectives that compare sentences

    @classmethod
    def by(cls, discriminator: Discriminator, rows: Rows, features: bool = False) -> Scores:
        """D's scores of words that its first layer has seen, or what it makes them from."""
        if features:
            found = discriminator.features(rows.embedded, rows.mask)  # type: ignore[attr-defined]
            return cls(found.new_zeros(len(found)), None, found)
        values = trim.score(discriminator, rows.embedded, rows.mask)
        return cls(values, rows.mask if "step_scores" in discriminator.offers else None)

    def sentences(self, of: Tensor | None = None) -> Tensor:
        """One number a sentence (N,): the mean over its visible steps, or over its
        representations, of `of` in our shape.
        """
        values = self.values if of is None else of
        if values.dim() == 1:
            return values
        if self.mask is None:
            return values.mean(1)
        return (values * self.mask).sum(1) / self.mask.sum(1)

    def mean(self, of: Tensor | None = None) -> Tensor:
        """Mean over sentences, of the values or of `of` in our shape: a scalar."""
        return self.sentences(of).mean()

    def filled(self) -> Tensor:
        """The values; behind the end, where a step has none, its sentence's mean."""
        if self.mask is None:
            return self.values
        return torch.where(self.mask, self.values, self.sentences().unsqueeze(1))

    def minus(self, other: Scores) -> Scores:
        """Differences of sentences pair by pair, at every step that either of them has."""
        masks = None
        if self.mask is not None and other.mask is not None:
            masks = self.mask | other.mask
        return Scores(self.filled() - other.filled(), masks)

    def rows(self, of: Tensor) -> Scores:
        """The scores of some sentences (K,), which may repeat."""
        mask = None if self.mask is None else self.mask[of]
        features = None if self.features is None else self.features[of]
        return Scores(self.values[of], mask, features)

    def chunk(self, count: int) -> list[Scores]:
        """The same sentences in `count` equal batches."""
        every = torch.arange(len(self.values), device=self.values.device)
        return [self.rows(of) for of in every.chunk(count)]

    @classmethod
    def cat(cls, parts: Sequence[Scores]) -> Scores:
        """The scores of several batches as one."""
        masks = [part.mask for part in parts if part.mask is not None]
        features = [part.features for part in parts if part.features is not None]
        return cls(
            torch.cat([part.values for part in parts]),
            torch.cat(masks) if masks else None,
            torch.cat(features) if features else None,
        )


@dataclass(frozen=True)
class Draw:
    """N sentences drawn by a generator, and what a gradient needs of how they came about."""

    tokens: Tensor  # (N, S) int64, the words selected
    hidden: Tensor  # (N, S, E) before the vocabulary head; with gradient when one is wanted
    words: Words  # what D sees
    words_of: Callable[[Tensor], Words]  # the same of other hidden states of these sentences
    noise: Noise | None = None  # that the generator read; None for a part of a draw
    # Where `hidden` has no gradient: some of the sentences, computed anew with their own.
    anew: Callable[[slice], Draw] | None = None
