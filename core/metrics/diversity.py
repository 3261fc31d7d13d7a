"""Diversity and copying, as shares between 0 and 1.

`distinct_n`: distinct n-grams over all n-grams (Li et al. 2016); higher is more diverse; falls as
the sample grows. `unique`: share of sentences that are different from each other, distinct
sentences over sentences; higher is more diverse; falls as the sample grows. `copied`: share of
sentences that stand word for word in the training text; compare with held-out real text, which
copies too where training text repeats itself; lower is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import numpy as np

from core.metrics.ngrams import NgramTable, Sentence


def distinct(table: NgramTable, sentences: Sequence[Sentence], n: int) -> float | None:
    """Distinct n-grams over n-grams of the sentences that `table` was made of."""
    total = sum(max(len(sentence) - n + 1, 0) for sentence in sentences)
    return table.size(n) / total if total else None


def unique(sentences: Sequence[Sentence]) -> float | None:
    """Distinct sentences over sentences."""
    return len({tuple(s) for s in sentences}) / len(sentences) if sentences else None


def copied(sentences: Sequence[Sentence], training: AbstractSet[tuple[str, ...]]) -> np.ndarray:
    """Of each sentence, whether the training text has it: bool (sentences,)."""
    return np.array([tuple(sentence) in training for sentence in sentences], dtype=bool)
