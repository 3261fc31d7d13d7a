"""Batches of real sentences whose order is a function of (seed, number of the batch) alone.

Each epoch is a fresh permutation, seeded by its number, so nothing but a counter has to be kept
to resume, and two variants with one seed read the same sentences in the same order.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from core.errors import InputError
from core.seeding import derive
from core.text.corpus import Split


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
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    @property
    def sentences(self) -> int:
        """Sentences of the split."""
        return len(self._split)

    @property
    def per_epoch(self) -> int:
        """Batches that read the split once."""
        return len(self._split) // self._size

    def batch(self, number: int) -> Tensor:
        """Batch `number`, counted from 0: words, the end token, padding; int64 (N, S)."""
        epoch, place = divmod(number, self.per_epoch)
        if epoch != self._epoch:
            rng = np.random.Generator(np.random.PCG64(derive(self._seed, f"epoch {epoch}")))
            self._epoch, self._order = epoch, rng.permutation(len(self._split))
        rows = self._order[place * self._size : (place + 1) * self._size]
        return torch.from_numpy(self._split.rows(rows, self._length))


def moved(batch: Tensor, device: torch.device) -> Tensor:
    """A batch on the device of a run. To a GPU it goes from memory that is never paged out, so that
    nobody waits: the next kernel does, which is asked for meanwhile.
    """
    if device.type == "cuda":
        return batch.pin_memory().to(device, non_blocking=True)
    return batch.to(device)
