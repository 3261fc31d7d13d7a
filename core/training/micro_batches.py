"""A batch cut into parts, so that memory holds the activations of one part only.

If D offers trimming, its cost grows with tokens and not with sentences: a part then has as many
sentences as there is room for their tokens, longest first. Otherwise all parts have equally many.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from core.nn.discriminator_input import lengths, movable
from core.nn.trim import cut
from core.types import DiscriminatorInput

Pair = tuple[DiscriminatorInput, DiscriminatorInput, Tensor | None, float]


@dataclass(frozen=True)
class MicroBatches:
    """How a batch of N sentences of at most S tokens is cut."""

    batch: int  # N
    count: int  # parts, of N / count sentences each or of their tokens
    length: int  # S
    trimming: bool  # D computes nothing after the end

    def pieces(self, length: Tensor | None, *, padded: bool) -> list[slice]:
        """The parts of a batch of these lengths (N,); None: sentences cannot change places."""
        size = self.batch // self.count
        if length is None or not self.trimming:
            return [slice(i * size, (i + 1) * size) for i in range(self.count)]
        return cut(length.tolist(), size * self.length, padded=padded)

    def pairs(
        self, real: DiscriminatorInput, fake: DiscriminatorInput, drawn: Tensor | None
    ) -> Iterator[Pair]:
        """Parts of real and generated sentences and of the penalty's random numbers, each with its
        fraction of the batch.
        """
        length = lengths(real, fake) if self.count > 1 and movable(fake) else None
        if length is None:
            drawns = [None] * self.count if drawn is None else drawn.chunk(self.count)
            for part in zip(real.chunk(self.count), fake.chunk(self.count), drawns, strict=True):
                yield *part, 1 / self.count
            return
        order = length.argsort(descending=True, stable=True)
        for piece in self.pieces(length[order], padded=False):
            rows = order[piece]
            reals, fakes = real.take(rows), fake.take(rows)
            assert reals is not None
            assert fakes is not None
            yield reals, fakes, None if drawn is None else drawn[rows], len(rows) / len(order)
