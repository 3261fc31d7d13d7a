"""MS-Jaccard-n: overlap of the n-gram multisets of two texts (Alihosseini et al. 2019).

With c(g) the count of n-gram g over the number of sentences,

    J_n = sum_g min(c_sample(g), c_real(g)) / sum_g max(c_sample(g), c_real(g)),

and MS-Jaccard-n the geometric mean of J_1..J_n. Higher is closer in quality and diversity at once,
between 0 and 1: samples that repeat a good sentence lose, and so do diverse wrong ones. It grows
with both sample sizes, so compare equal sizes; real text against real text is the ceiling.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.metrics.ngrams import NgramTable, Sentence

ORDERS = (2, 3, 4, 5)


def ms_jaccard(
    samples: Sequence[Sentence], references: Sequence[Sentence]
) -> dict[int, float | None]:
    """N -> MS-Jaccard-n; None where a side has no sentences."""
    if not samples or not references:
        return dict.fromkeys(ORDERS)
    table = NgramTable([*samples, *references], max(ORDERS))
    similarities = []
    for n, (ours, theirs) in enumerate(
        zip(table.count(samples), table.count(references), strict=True), start=1
    ):
        size = max(table.size(n), 1)
        a = np.bincount(ours.gram, ours.count, minlength=size) / len(samples)
        b = np.bincount(theirs.gram, theirs.count, minlength=size) / len(references)
        union = np.maximum(a, b).sum()
        similarities.append(float(np.minimum(a, b).sum() / union) if union else 0.0)
    return {n: float(np.prod(similarities[:n]) ** (1 / n)) for n in ORDERS}
