"""Length is work: sentences sorted by length, cut into groups of similar length, each as long as
its longest. What is behind the end is hidden, so a score and its gradients stay the same.
"""

from __future__ import annotations

from collections.abc import Callable

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
