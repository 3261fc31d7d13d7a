"""Batches of real sentences whose order is a function of (seed, number of the batch) alone.

Each epoch is a fresh permutation, seeded by its number, so nothing but a counter has to be kept
to resume, and two variants with one seed read the same sentences in the same order. Where several
processes train one run, each reads its own rows of a batch and they hand them to one another: a
sentence is read by one process, once an epoch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from core.errors import InputError
from core.seeding import derive
from core.shares import ALONE, Share
from core.text.corpus import Split
from core.text.order import Order, ordered


class Batches:
    """Endless batches (N, S) of a split; the last incomplete one of an epoch is left out."""

    def __init__(
        self, split: Split, size: int, length: int, seed: int, share: Share = ALONE
    ) -> None:
        if len(split) < size:
            raise InputError(
                f"train.batch_size = {size}, but the training split has {len(split)} sentences; "
                f"lower train.batch_size or give a larger corpus"
            )
        split.check_fits(length)
        self._split, self._size, self._length, self._seed = split, size, length, seed
        self._share, self._epoch = share, -1
        self._order: Order
        self._last = -1, torch.empty(0)  # G's steps ask for the batch of D's last step again

    @property
    def sentences(self) -> int:
        """Sentences of the split."""
        return len(self._split)

    @property
    def per_epoch(self) -> int:
        """Batches that read the split once."""
        return len(self._split) // self._size

    def batch(self, number: int) -> Tensor:
        """Batch `number`, counted from 0: words, the end token, padding; int64 (N, S). All
        processes ask for the same.
        """
        if number != self._last[0]:
            epoch, place = divmod(number, self.per_epoch)
            if epoch != self._epoch:
                seed = derive(self._seed, f"epoch {epoch}")
                self._epoch, self._order = epoch, ordered(len(self._split), seed)
            each = self._size // self._share.count
            begin = place * self._size + self._share.index * each
            own = torch.from_numpy(
                self._split.rows(self._order[begin : begin + each], self._length)
            )
            self._last = number, self._share.gather(own.to(self._share.device))
        return self._last[1]


def moved(batch: Tensor, device: torch.device) -> Tensor:
    """A batch on the device of a run. To a GPU it goes from memory that is never paged out, so that
    nobody waits: the next kernel does, which is asked for meanwhile.
    """
    if device.type == "cuda" and batch.device.type == "cpu":
        return batch.pin_memory().to(device, non_blocking=True)
    return batch.to(device)
