"""A batch cut into micro-batches, of which this process has its share.

Where sentences may change places, the parts are cut by words: as many sentences each as have the
words of `train.micro_batch` whole ones, longest first. Where not, of equally many sentences.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from core.nn.trim import cut
from core.nn.words import lengths, movable
from core.sentences import Words
from core.shares import Share

Pair = tuple[Words, Words, Tensor | None, float]


@dataclass(frozen=True)
class MicroBatches:
    """How a batch of N sentences of S words at most is cut."""

    batch: int  # N
    count: int  # parts, of N / count sentences each or of their words
    length: int  # S
    trimming: bool  # D computes no word behind an end
    share: Share

    def pieces(self, length: Tensor | None, *, padded: bool) -> list[slice]:
        """Our parts of a batch of these lengths (N,); None: they may not change places."""
        size, ours = self.batch // self.count, self.share.parts(self.count)
        if length is None or not self.trimming:
            return [slice(i * size, (i + 1) * size) for i in ours]
        first, last = size * ours.start, size * ours.stop
        found = cut(length[first:last].tolist(), size * self.length, padded=padded)
        return [slice(first + piece.start, first + piece.stop) for piece in found]

    def pairs(self, real: Words, fake: Words, drawn: Tensor | None) -> Iterator[Pair]:
        """Our parts, each with its share of the batch: pairs of real and drawn sentences and what
        the penalty has drawn.
        """
        length = lengths(real, fake) if self.count > 1 and movable(fake) else None
        if length is None:
            drawns = [None] * self.count if drawn is None else drawn.chunk(self.count)
            parts = [*zip(real.chunk(self.count), fake.chunk(self.count), drawns, strict=True)]
            for i in self.share.parts(self.count):
                yield *parts[i], 1 / self.count
            return
        order = length.argsort(descending=True, stable=True)
        for piece in self.pieces(length[order], padded=False):
            rows = order[piece]
            reals, fakes = real.take(rows), fake.take(rows)
            assert reals is not None
            assert fakes is not None
            yield reals, fakes, None if drawn is None else drawn[rows], len(rows) / len(order)
