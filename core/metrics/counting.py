"""n-grams found in a table of hashes and counted sentence by sentence: linear in tokens.

Level n's id of the n-gram that ends at a token stands for the pair (id at level n - 1 of the n-gram
before it, token); ids count up in the order of first appearance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from core.compiled import compiled
from core.metrics.ngrams import UNSEEN, Counts, Sentence, identified, numbered

Level = tuple[np.ndarray, np.ndarray, int]  # keys by id, ids by place, how many
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio (Knuth 1973, section 6.4)


@dataclass
class Index:
    """The n-grams (n = 1..order) of some sentences, for counting them in others."""

    order: int
    words: dict[str, int] = field(default_factory=dict)
    levels: list[Level] = field(default_factory=list)  # from n = 2 on

    def size(self, n: int) -> int:
        """Distinct n-grams of level n."""
        return len(self.words) if n == 1 else self.levels[n - 2][2]

    def learn(self, sentences: Sequence[Sentence]) -> Iterator[Counts]:
        """Counts of all n-grams in `sentences`, for n = 1..order; they are the known ones then."""
        self.words, self.levels = numbered(sentences), []
        text = identified(self.words, sentences)
        ids = text[0]
        for n in range(1, self.order + 1):
            if n > 1:
                keys, places = _room(len(ids))
                ids, known = _identify(ids, text, n, len(self.words), (keys, places), 0, True)
                self.levels.append((keys[:known].copy(), places, known))
            yield self._counts(ids, text[1], n)

    def look(self, sentences: Sequence[Sentence]) -> Iterator[Counts]:
        """Counts of the known n-grams in `sentences`, for n = 1..order."""
        text = identified(self.words, sentences)
        ids = text[0]
        for n in range(1, self.order + 1):
            if n > 1:
                keys, places, known = self.levels[n - 2]
                ids, _ = _identify(ids, text, n, len(self.words), (keys, places), known, False)
            yield self._counts(ids, text[1], n)

    def _counts(self, ids: np.ndarray, offsets: np.ndarray, n: int) -> Counts:
        return Counts(*_tally(ids, offsets, self.size(n)))


def _room(tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """For the pairs that end at so many tokens: the pairs by their ids, and at the place of a
    pair's hash, or the next free one, its id.
    """
    places = 1 << (tokens + tokens // 4 + 1).bit_length()
    return np.empty(max(tokens, 1), np.int64), np.full(places, UNSEEN, np.int32)


@compiled
def _identify(
    before: np.ndarray,
    text: tuple[np.ndarray, np.ndarray],
    n: int,
    words: int,
    room: tuple[np.ndarray, np.ndarray],
    known: int,
    learns: bool,
) -> tuple[np.ndarray, int]:
    """Ids (tokens,) of the n-grams that end at each token, UNSEEN where none does or it is not
    among the `known` and nothing is learnt; and how many are known then. `before` are the ids one
    level below; the text is its tokens and where each sentence begins, and the last one ends.
    """
    (flat, offsets), (keys, places) = text, room
    ids = np.full(len(flat), UNSEEN, np.int32)
    last = np.uint64(len(places) - 1)
    for s in range(len(offsets) - 1):
        for i in range(offsets[s] + n - 1, offsets[s + 1]):
            if before[i - 1] == UNSEEN or flat[i] == UNSEEN:
                continue
            key = np.int64(before[i - 1]) * words + flat[i]
            mixed = np.uint64(key) * GOLDEN
            place = (mixed ^ (mixed >> np.uint64(32))) & last
            while places[place] != UNSEEN and keys[places[place]] != key:
                place = (place + np.uint64(1)) & last
            if places[place] == UNSEEN and learns:
                places[place], keys[known] = known, key
                known += 1
            ids[i] = places[place]
    return ids, known


@compiled
def _tally(
    ids: np.ndarray, offsets: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How often each sentence has each n-gram of ids below `size`: sentences, n-grams, counts."""
    sentence, gram = np.empty(len(ids), np.int32), np.empty(len(ids), np.int32)
    count = np.empty(len(ids), np.int32)
    newest = np.full(size, -1, np.int32)  # the last entry of each n-gram
    entries = 0
    for s in range(len(offsets) - 1):
        for i in range(offsets[s], offsets[s + 1]):
            g = ids[i]
            if g == UNSEEN:
                continue
            entry = newest[g]
            if entry >= 0 and sentence[entry] == s:
                count[entry] += 1
            else:
                newest[g] = entries
                sentence[entries], gram[entries], count[entries] = s, g, 1
                entries += 1
    return sentence[:entries], gram[:entries], count[:entries]


@compiled
def three_largest(
    sentence: np.ndarray, gram: np.ndarray, count: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of each n-gram the three largest counts in a sentence (3, size), 0 where there is none, and
    who has the first two (2, size), -1 for nobody; of equals the first sentence leads.
    """
    counts, owners = np.zeros((3, size), np.int32), np.full((2, size), -1, np.int32)
    for entry in range(len(gram)):
        g, c, s = gram[entry], count[entry], sentence[entry]
        if c > counts[0, g]:
            counts[2, g], counts[1, g], counts[0, g] = counts[1, g], counts[0, g], c
            owners[1, g], owners[0, g] = owners[0, g], s
        elif c > counts[1, g]:
            counts[2, g], counts[1, g] = counts[1, g], c
            owners[1, g] = s
        elif c > counts[2, g]:
            counts[2, g] = c
    return counts, owners
