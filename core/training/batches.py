"""Batches of real sentences whose order is a function of (seed, number of the batch) alone.

Each epoch is a fresh permutation, seeded by its number. A resumed run needs only a counter, and two
variants with one seed read the same sentences in the same order.
"""

from __future__ import annotations

import torch
from torch import Tensor

from core.errors import InputError
from core.seeding import derive
from core.text.corpus import Split
from core.text.hashing import Order, shuffled


class Batches:
    """Endless batches (N, S) of a split; the last incomplete one of an epoch is left out."""

    def __init__(self, split: Split, size: int, length: int, seed: int) -> None:
        if len(split) < size:
            raise InputError(
                f"train.batch_size = {size}, but the training split has {len(split)} sentences; "
                f"lower train.batch_size or give a larger corpus"
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
