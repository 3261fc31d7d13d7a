"""Plain data that the parts of a text GAN hand to each other. Imports nothing of ours.

Letters, everywhere: N batch, S sequence length, E embedding width, V vocabulary size, H heads,
M, B, O the generator's mapping, noise and output layers. Shapes follow each tensor:
`hidden (N, S, E)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

PAD, START, END, UNK = 0, 1, 2, 3  # token ids that every vocabulary begins with
Seeds = tuple[int, ...]  # of noise that can be drawn again; each serves an equal part of the batch
NoiseKind = Literal["uniform", "normal", "truncated"]


@dataclass(frozen=True)
class Shape:
    """The sizes that several parts share."""

    length: int  # S
    vocabulary: int  # V
    noise: NoiseKind = "uniform"


# From noise to sentences.


@dataclass(frozen=True)
class Noise:
    """All noise that a generator reads for N sentences, drawn before the first token.

    The step-by-step rollout and the parallel pass read the same noise, so both compute the same
    function.
    """

    latent: Tensor | None  # input of the noise mapping; its own shape, first axis N
    inputs: Tensor | None  # (N, S, E) or (N, 1, E): the next-step input
    injected: Tensor | None  # (B, streams, N, S, E) added inside the noise blocks
    seed: int  # of dropout, and of noise that is drawn again at every step (attention = "full")
    count: int  # N
    scale: float = 1.0  # factor that the noise was multiplied with
    redrawn: bool = False  # whether noise is drawn again from the seed at every step
    # Of a part of a batch: the size of the batch, and the part's rows in it (N,).
    part_of: tuple[int, Tensor] | None = None

    @property
    def silent(self) -> bool:
        """Whether there is no noise, so that a sentence's likelihood is that of its tokens."""
        drawn = (self.latent, self.inputs, self.injected)
        return not self.redrawn and all(part is None for part in drawn)


class DiscriminatorInput(Protocol):
    """N sentences as a discriminator sees them: token ids or distributions over tokens."""

    @property
    def mask(self) -> Tensor | None:
        """(N, S) bool, False after the end token; None when nothing is masked."""

    def embed(self, weight: Tensor) -> Tensor:
        """Project with `weight` (V, E) to (N, S, E), without a bias."""

    def mean(self, vocabulary: int) -> Tensor:
        """Mean distribution over the batch, (S, V)."""

    def chunk(self, count: int) -> Sequence[DiscriminatorInput]:
        """The same sentences in `count` equal batches."""

    def take(self, rows: Tensor) -> DiscriminatorInput | None:
        """The sentences `rows` (K,); None where their noise was drawn for the batch as a whole."""


@dataclass(frozen=True)
class Draw:
    """N sentences drawn by a generator, and what a gradient through them needs."""

    tokens: Tensor  # (N, S) int64, the tokens selected
    hidden: Tensor  # (N, S, E) before the vocabulary head; with gradient when one is wanted
    d_input: DiscriminatorInput  # what D sees
    # Builds what D sees from other hidden states (N, S, E) of these sentences.
    d_input_from: Callable[[Tensor], DiscriminatorInput]
    noise: Noise | None = None  # that the generator read; None for a part of a draw
    # Only if `hidden` has no gradient: computes a slice of the sentences again, with gradient.
    recompute: Callable[[slice], Draw] | None = None


@dataclass(frozen=True)
class Embedded:
    """Sentences after D's first layer, looked up once for everything that D does with them."""

    values: Tensor  # (N, S, E)
    mask: Tensor | None = None  # (N, S) bool, False after the end

    @classmethod
    def of(cls, d_input: DiscriminatorInput, weight: Tensor) -> Embedded:
        """Embed with D's first layer `weight` (V, E). Positions after the end are zero, so that a
        penalty between two sentences does not depend on the longest one of the batch.
        """
        values, mask = d_input.embed(weight), d_input.mask
        return cls(values if mask is None else values * mask.unsqueeze(-1), mask)

    def __add__(self, other: Embedded) -> Embedded:
        """Both batches in one; either both have a mask or neither."""
        masks = None
        if self.mask is not None and other.mask is not None:
            masks = torch.cat([self.mask, other.mask])
        return Embedded(torch.cat([self.values, other.values]), masks)


@dataclass(frozen=True)
class Scores:
    """D's scores of N sentences: one for each, one for each of its steps, or one for each of R
    representations of it. High means real.
    """

    values: Tensor  # (N,), (N, S) or (N, R); zero where an objective reads only features
    mask: Tensor | None = None  # (N, S) of per-step scores, False after the end
    features: Tensor | None = None  # (N, F), for objectives that compare sentences

    def per_sentence(self, values: Tensor | None = None) -> Tensor:
        """One number for each sentence (N,): the mean over its visible steps, or over its
        representations, of the scores or of other `values` of the same shape.
        """
        values = self.values if values is None else values
        if values.dim() == 1:
            return values
        if self.mask is None:
            return values.mean(1)
        return (values * self.mask).sum(1) / self.mask.sum(1)

    def mean(self, values: Tensor | None = None) -> Tensor:
        """Mean over sentences of the scores, or of other `values` of the same shape: a scalar."""
        return self.per_sentence(values).mean()

    def filled(self) -> Tensor:
        """The scores; after the end, where a step has none, its sentence's mean."""
        if self.mask is None:
            return self.values
        return torch.where(self.mask, self.values, self.per_sentence().unsqueeze(1))

    def minus(self, other: Scores) -> Scores:
        """Differences of sentences pair by pair, at every step that either of them has."""
        masks = None
        if self.mask is not None and other.mask is not None:
            masks = self.mask | other.mask
        return Scores(self.filled() - other.filled(), masks)

    def select(self, rows: Tensor) -> Scores:
        """The scores of some sentences (K,), which may repeat."""
        mask = None if self.mask is None else self.mask[rows]
        features = None if self.features is None else self.features[rows]
        return Scores(self.values[rows], mask, features)

    def chunk(self, count: int) -> list[Scores]:
        """The same sentences in `count` equal batches."""
        rows = torch.arange(len(self.values), device=self.values.device)
        return [self.select(part) for part in rows.chunk(count)]

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


def visible(tokens: Tensor) -> Tensor:
    """Mask (N, S), True up to and including the first end token of each row of tokens (N, S)."""
    ended = (tokens == END).cumsum(dim=1)
    return (ended - (tokens == END).long()) == 0


# What a schedule tells the loop.


@dataclass(frozen=True)
class Phase:
    """`repeats` steps of one player on one loss. A whole system brings its own players and losses:
    its loss is then a function of `core.interfaces.StepContext` to a scalar.
    """

    player: str  # "generator", "discriminator", or one of a system's
    loss: Literal["adversarial", "likelihood"] | Callable[..., Tensor]
    repeats: int = 1
    lr: float | None = None  # learning rate of these steps; None: the player's own
    # Pretraining has ended: forget the optimiser's moments before these steps.
    reset_optimiser: bool = False
    pretraining: bool = False  # of an update before adversarial training


@dataclass(frozen=True)
class Progress:
    """What a schedule sees: the update about to run and the last losses of each player."""

    update: int
    losses: Mapping[str, Sequence[float]]  # player -> its last two losses, oldest first
    updates_per_epoch: int = 1  # updates that read the training split once, one batch each
