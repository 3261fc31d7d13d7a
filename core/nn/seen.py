"""Which keys the queries of an attention see: behind the end nothing, ahead nothing.

The same thing said twice: as a mask for torch's kernels, and as how many of the first keys each
query and each sentence sees, for ours, which does not look at the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from core.nn.stacked import stacked


@dataclass(frozen=True, eq=False)
class Seen:
    """What is seen. Of the fields behind the mask each may be absent, and then hides nothing."""

    mask: Tensor | None  # bool, True where seen, broadcast to (N, H, P, K)
    upto: np.ndarray | None = None  # (P,) int64: the first keys that each query sees
    own: np.ndarray | None = None  # (P,) int64: a key besides that each query sees, -1 for none
    lengths: np.ndarray | None = None  # (N,) int64: the keys that each sentence has
    whole: bool = True  # whether that says all that the mask does
    # (N,) int64, where sentences stand one behind another in one row of all their words: how many
    # each has. Either each of them asks, or one word a sentence.
    packed: np.ndarray | None = None
    one_asks: bool = False

    def rows(self, asking: slice | Tensor) -> Seen:
        """The same for some of the queries; of packed sentences for one of each."""
        if self.packed is not None:
            return replace(self, one_asks=True)
        if self.upto is None:
            return self
        assert isinstance(asking, slice)
        own = None if self.own is None else self.own[asking]
        mask = None if self.mask is None else self.mask[asking]
        return replace(self, mask=mask, upto=self.upto[asking], own=own)


def words(mask: Tensor | None) -> Seen:
    """Keys by a mask (N, K), False behind the end; None where nothing is hidden."""
    if mask is None:
        return EVERYTHING
    keys = mask[:, None, None, :]
    if mask.device.type != "cpu" or stacked():
        return Seen(keys, whole=False)
    lengths = mask.sum(1)
    places = torch.arange(mask.shape[1])
    whole = bool(torch.equal(mask, places < lengths[:, None]))
    return Seen(keys, lengths=lengths.numpy(), whole=whole)


def packed(lengths: np.ndarray) -> Seen:
    """Sentences of these lengths (N,), one behind another, each of which sees itself."""
    return Seen(None, packed=lengths)


@lru_cache(maxsize=64)
def causal(S: int, device: torch.device) -> Seen:
    """Each of S words sees those up to itself."""
    mask = torch.ones(S, S, dtype=torch.bool, device=device).tril()
    return Seen(mask, np.arange(1, S + 1))


@lru_cache(maxsize=64)
def two_streams(S: int, device: torch.device) -> Seen:
    """S - 1 words, then S queries: words see words up to themselves; the query of step t sees the
    words before t and itself.
    """
    square = torch.ones(S, S, dtype=torch.bool, device=device)
    words = square[:-1, :-1].tril()
    before = square[:, :-1].tril(-1)
    nothing = torch.zeros(S - 1, S, dtype=torch.bool, device=device)
    itself = torch.eye(S, dtype=torch.bool, device=device)
    mask = torch.cat([torch.cat([words, nothing], 1), torch.cat([before, itself], 1)])
    own = np.r_[np.full(S - 1, -1), np.arange(S - 1, 2 * S - 1)]
    return Seen(mask, np.r_[np.arange(1, S), np.arange(S)], own)


EVERYTHING = Seen(None)
