"""Batches of real sentences whose order is a function of (seed, number of the batch) alone.

Each epoch is a fresh permutation, seeded by its number. A resumed run needs only a counter, and two
variants with one seed read the same sentences in the same order.

A batch may be cut into micro-batches, so that memory holds the activations of one of them only. If
D offers trimming, its cost grows with tokens and not with sentences: a micro-batch then has as many
sentences as there is room for their tokens, longest first. Otherwise all have equally many.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from core.errors import InputError
from core.nn.discriminator_input import lengths, movable
from core.nn.trim import cut
from core.plural import count
from core.seeding import derive
from core.text.corpus import Split
from core.text.hashing import Order, shuffled
from core.types import DiscriminatorInput

Pair = tuple[DiscriminatorInput, DiscriminatorInput, Tensor | None, float]


class Batches:
    """Endless batches (N, S) of a split; the last incomplete one of an epoch is left out."""

    def __init__(self, split: Split, size: int, length: int, seed: int) -> None:
        if len(split) < size:
            raise InputError(
                f"train.batch_size = {size}, but the training split has "
                f"{count(len(split), 'sentence')}; lower train.batch_size or give a larger corpus"
            )
        split.check_fits(length)
        self._split, self._size, self._length, self._seed = split, size, length, seed
        self._epoch = -1
        self._order: Order
        self._last = -1, torch.empty(0)  # a G step reads the batch of the last D step again

    @property
    def sentences(self) -> int:
        """Sentences of the split."""
        return len(self._split)

    @property
    def per_epoch(self) -> int:
        """Batches that read the split once."""
        return len(self._split) // self._size

    def batch(self, number: int) -> Tensor:
        """Batch `number`, counted from 0: tokens, the end token, padding; int64 (N, S)."""
        if number != self._last[0]:
            epoch, place = divmod(number, self.per_epoch)
            if epoch != self._epoch:
                seed = derive(self._seed, f"epoch {epoch}")
                self._epoch, self._order = epoch, shuffled(len(self._split), seed)
            rows = self._order[place * self._size : (place + 1) * self._size]
            self._last = number, torch.from_numpy(self._split.rows(rows, self._length))
        return self._last[1]


def to_device(batch: Tensor, device: torch.device) -> Tensor:
    """A batch on the run's device. To a GPU it goes from pinned memory, without waiting for it."""
    if device.type == "cuda" and batch.device.type == "cpu":
        return batch.pin_memory().to(device, non_blocking=True)
    return batch.to(device)


@dataclass(frozen=True)
class MicroBatches:
    """How a batch of N sentences of at most S tokens is cut."""

    batch: int  # N
    count: int  # parts, of N / count sentences each or of their tokens
    length: int  # S
    trimming: bool  # D computes nothing after the end

    def pieces(self, length: Tensor | None, *, padded: bool = True) -> list[slice]:
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


def micro_batch_count(batch_size: int, micro_batch: int | None) -> int:
    """Micro-batches of a batch that a process draws."""
    if micro_batch is None or micro_batch >= batch_size:
        return 1
    if batch_size % micro_batch:
        raise InputError(
            f"each process draws {batch_size} sentences, which must be a multiple of "
            f"train.micro_batch = {micro_batch}"
        )
    return batch_size // micro_batch
