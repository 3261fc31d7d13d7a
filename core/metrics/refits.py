"""Kneser-Ney models of halves of a text, by adding up the counts of its groups.

The n-grams stay numbered as in the whole text. One that a half has not has count 0, gets no
probability of its own and is no context: as if it had never been seen. So this equals fitting the
half anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.linalg import hadamard

from core.metrics.kneser_ney import ORDER, Counted, marked_sentence, nats
from core.metrics.ngrams import NgramTable, Sentence

GROUPS = 16  # a power of two: balanced halves are the rows of a Hadamard matrix


def halves(
    samples: Sequence[Sentence], references: Sequence[Sentence], order: int = ORDER
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of GROUPS - 1 balanced splits of the samples' interleaved groups into halves (McCarthy 1969):
    -log p of the references in nats (m,) under a model of either half.
    """
    marked = [marked_sentence(sentence) for sentence in samples]
    table = NgramTable(marked, order)
    counted = Counted(table, marked)
    scored = [marked_sentence(sentence) for sentence in references]
    ids = [of_order.astype(np.int32) for of_order in table.ids(scored)]
    lengths = np.array([len(sentence) for sentence in scored], dtype=np.int64)

    def under(raw: Sequence[np.ndarray]) -> np.ndarray:
        words = int(np.count_nonzero(raw[0]))  # the begin mark's place is the unknown word's
        return nats(counted.levels(raw), ids, lengths, words)

    for row in hadamard(GROUPS)[1:]:
        some = counted.of(np.flatnonzero(np.resize(row > 0, len(samples))))
        yield under(some), under([a - b for a, b in zip(counted.raw, some, strict=True)])
