"""Length is work: what is hidden behind the end is not computed, and no score or gradient changes.

A discriminator that offers trimming is given sentences sorted by length, in groups of similar
length, each cut at its longest. A batch that is cut into parts is cut by words, not by sentences:
short sentences share a part with more others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

FEW = 8  # sentences; a smaller group is not worth a pass of its own
SIMILAR = 0.75  # of the longest sentence of a group

Score = Callable[[Tensor, Tensor | None], Tensor]


def score_by_length(score: Score, embedded: Tensor, mask: Tensor) -> Tensor:
    """`score` of embedded words (N, S, E) with mask (N, S), False behind the end, group by group;
    (N,), or (N, S) with zeros behind each group's longest.
    """
    S = mask.shape[1]
    lengths, order = mask.sum(1).sort(descending=True)
    parts = []
    groups = grouped(lengths.tolist())
    rows = torch.split(order, [count for count, _ in groups])
    for chosen, (_, longest) in zip(rows, groups, strict=True):
        seen, rows_of = (part[:, :longest].index_select(0, chosen) for part in (mask, embedded))
        values = score(rows_of, None if bool(seen.all()) else seen)
        parts.append(values if values.dim() == 1 else pad(values, (0, S - longest)))
    return torch.cat(parts)[order.argsort()]


def grouped(lengths: list[int]) -> list[tuple[int, int]]:
    """Lengths, longest first, to groups: how many sentences, and the longest's length."""
    groups: list[tuple[int, int]] = []
    count = 0
    for place, length in enumerate(lengths):
        longest = lengths[place - count]
        left = len(lengths) - place
        if count >= FEW and left >= FEW and length < SIMILAR * longest:
            groups.append((count, longest))
            count = 0
        count += 1
    return [*groups, (count, lengths[len(lengths) - count])]


def cut(lengths: Sequence[int], room: int, *, padded: bool) -> list[slice]:
    """Sentences of these lengths to parts, one after another: each has as many sentences as there
    is room for words, one at least. Padded, all of a part are as long as its longest.
    """
    parts: list[slice] = []
    start = words = longest = 0
    for place, length in enumerate(lengths):
        longest, words = max(longest, length), words + length
        if place > start and (longest * (place + 1 - start) if padded else words) > room:
            parts.append(slice(start, place))
            start, words, longest = place, length, length
    return [*parts, slice(start, len(lengths))]
