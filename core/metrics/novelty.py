"""Copies of the training text.

`copied`: share of sentences that stand word for word in the training text, between 0 and 1.
`longest_copy`: mean over sentences of the longest run of words that the training text has, in
words. Lower is more novel for both, but neither has a meaning alone: held-out real text copies too
where training text repeats itself, so read them beside the row of real text, and only on splits
that share no sentence. A longer sentence has room for a longer run.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import numpy as np

from core.metrics.ngrams import UNSEEN, NgramTable, Sentence
from core.text.hashing import SentenceSet

LONGEST = 64  # words; a longer run counts as this long
AT_ONCE = 8  # levels indexed at first, and more at a time where a run is longer
Training = AbstractSet[tuple[str, ...]] | SentenceSet


def copied(sentences: Sequence[Sentence], training: Training) -> np.ndarray:
    """Of each sentence, whether the training text has it: bool (sentences,)."""
    if isinstance(training, SentenceSet):
        return training.contains(sentences)
    return np.array([tuple(sentence) in training for sentence in sentences], dtype=bool)


class CopyIndex:
    """The n-grams of the training text, indexed once and as far as copies of them are long."""

    def __init__(self, training: Sequence[Sentence]) -> None:
        self._training = training
        self._table = NgramTable(training, AT_ONCE)

    def longest(self, sentences: Sequence[Sentence]) -> np.ndarray:
        """Words of each sentence's longest n-gram that the training text has: (sentences,)."""
        longest = np.zeros(len(sentences), dtype=np.int64)
        lengths = np.array([len(sentence) for sentence in sentences], dtype=np.int64)
        owner = np.repeat(np.arange(len(sentences)), lengths)
        while True:
            for n, grams in enumerate(self._table.ids(sentences), start=1):
                np.maximum.at(longest, owner[grams != UNSEEN], n)
                if not (longest >= n).any():
                    return longest
            if self._table.order == LONGEST:
                return longest
            order = min(self._table.order + AT_ONCE, LONGEST)
            self._table = NgramTable(self._training, order)
