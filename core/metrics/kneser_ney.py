r"""An n-gram language model: interpolated modified Kneser-Ney (Chen & Goodman 1998).

Over sentences w_1..w_T between one begin and one end mark, with h a context of n - 1 words,

    p_n(w | h) = (a(h w) - D(a(h w))) / a(h .) + gamma(h) p_{n-1}(w | h'),
    gamma(h)   = (D_1 N_1(h .) + D_2 N_2(h .) + D_3+ N_3+(h .)) / a(h .),

h' the context without its first word. The adjusted count a is the count where n is the order or the
n-gram begins with the begin mark, else the number of different words seen in front of it (as in
KenLM, Heafield 2011). Discounts are those of Chen & Goodman, of each order; p_0 is uniform over the
words seen, the end and one unknown word. A context that was never seen hands its whole weight down.

All counts stand in arrays sorted by context, so fitting, scoring and drawing are numpy calls over
all tokens at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.metrics.ngrams import UNSEEN, NgramTable, Sentence

ORDER = 4
LONGEST = 1000  # words after which a drawn sentence is cut
BEGIN, END = "\0begin", "\0end"  # no word of a text file holds a zero byte


@dataclass(frozen=True)
class Level:
    """The n-grams of one order, sorted by context: arrays (n-grams,) and (contexts,). Where UNSEEN
    may ask, one place more says what holds for it.
    """

    word: np.ndarray  # id of the last word
    kept: np.ndarray  # (n-grams + 1,) adjusted count less its discount; 0
    ends: np.ndarray  # running total of `kept`
    first: np.ndarray  # (contexts + 1,) where each context's n-grams begin
    total: np.ndarray  # (contexts + 1,) sum of adjusted counts, 0 where none follows
    backoff: np.ndarray  # (contexts + 1,) gamma; 1


class KneserNey:
    """A model of some sentences; `discounts` of each order (D_1, D_2, D_3+), None: estimated."""

    def __init__(
        self,
        sentences: Sequence[Sentence],
        order: int = ORDER,
        discounts: Sequence[tuple[float, float, float]] | None = None,
    ) -> None:
        marked = [_marked(sentence) for sentence in sentences]
        self.order = order
        self.table = NgramTable(marked, order)
        self.words = list(self.table.words)
        self.begin, self.end = self.table.words[BEGIN], self.table.words[END]
        levels = list(self.table.ids(marked))
        starts = np.cumsum([0, *(len(sentence) for sentence in marked)])[:-1]
        self.levels = []
        for n, ids in enumerate(levels, start=1):
            count = self._adjusted(levels, n, starts)
            fixed = discounts[n - 1] if discounts is not None else None
            self.levels.append(self._level(n, count, ids, levels, fixed))

    def _adjusted(self, levels: list[np.ndarray], n: int, starts: np.ndarray) -> np.ndarray:
        """Adjusted counts (n-grams of order n,); the begin mark is never predicted."""
        ids, size = levels[n - 1], self.table.size(n)
        raw = np.bincount(ids[ids != UNSEEN], minlength=size)
        if n == 1:
            raw[self.begin] = 0
        if n == self.order:
            return raw
        longer = levels[n]
        whole, first = np.unique(longer, return_index=True)
        first = first[whole != UNSEEN]
        count = np.bincount(ids[first], minlength=size)
        # What begins with the begin mark has no word in front of it: its count is its own.
        opening = ids[np.minimum(starts + n - 1, len(ids) - 1)] if len(starts) else starts
        opening = np.unique(opening[opening != UNSEEN])
        alone = opening[count[opening] == 0]
        count[alone] = raw[alone]
        return count

    def _level(
        self,
        n: int,
        count: np.ndarray,
        ids: np.ndarray,
        levels: list[np.ndarray],
        fixed: tuple[float, float, float] | None,
    ) -> Level:
        if n == 1:
            context = np.zeros(len(count), dtype=np.int64)
            word = np.arange(len(count))
            contexts = 1
        else:
            context, word = self.table.parts(n)
            contexts = self.table.size(n - 1)
        d = np.array([0.0, *(fixed or _discounts(count))])
        kept = count - d[np.minimum(count, 3)]
        total = np.bincount(context, count, minlength=contexts)
        lost = np.bincount(context, count - kept, minlength=contexts)
        backoff = np.divide(lost, total, out=np.ones(contexts), where=total > 0)
        first = np.searchsorted(context, np.arange(contexts + 1))
        return Level(
            word,
            np.append(kept, 0.0),
            np.cumsum(kept),
            first,
            np.append(total, 0),
            np.append(backoff, 1.0),
        )

    def score(self, sentences: Sequence[Sentence]) -> tuple[np.ndarray, np.ndarray]:
        """Of each sentence -log p in nats, its end included, and how many tokens that are."""
        marked = [_marked(sentence) for sentence in sentences]
        lengths = np.array([len(sentence) for sentence in marked], dtype=np.int64)
        owner = np.repeat(np.arange(len(marked)), lengths)
        p = np.full(len(owner), 1.0 / len(self.words))  # the begin mark's place is the unknown's
        before = np.zeros(len(owner), dtype=np.int64)
        for level, ids in zip(self.levels, self.table.ids(marked), strict=True):
            total = level.total[before]
            share = np.divide(level.kept[ids], total, out=np.zeros(len(p)), where=total > 0)
            p = share + level.backoff[before] * p
            before = np.roll(ids, 1)
        p[np.cumsum(lengths) - lengths] = 1.0  # the begin mark is given
        nll = -np.log(p)
        return np.bincount(owner, nll, minlength=len(marked)), lengths - 1

    def sample(self, count: int, rng: np.random.Generator) -> list[list[str]]:
        """`count` sentences; an unknown word is drawn again, and the longest are cut."""
        drawn = [np.full(count, self.begin)]
        going = np.ones(count, dtype=bool)
        while going.any() and len(drawn) <= LONGEST:
            word = np.full(count, self.end)
            word[going] = self._next([past[going] for past in drawn[-(self.order - 1) :]], rng)
            drawn.append(word)
            going &= word != self.end
        lines = np.stack(drawn[1:], axis=1) if len(drawn) > 1 else np.empty((count, 0), int)
        return [
            [self.words[word] for word in line[: np.argmax(np.r_[line, self.end] == self.end)]]
            for line in lines
        ]

    def _next(self, past: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
        """The next word after each of some contexts: `past` are their last words, oldest first."""
        n = len(past[0])
        # Of the context of order 1, 2, ...
        ids = [np.zeros(n, dtype=np.int64)]
        ids += [self.table.find(past[-length:]) for length in range(1, len(past) + 1)]
        word = np.full(n, UNSEEN)
        for order in range(len(past) + 1, 0, -1):
            level, context = self.levels[order - 1], ids[order - 1]
            at = np.flatnonzero((word == UNSEEN) & (context != UNSEEN))
            at = at[level.total[context[at]] > 0]
            draw = rng.random(len(at)) * level.total[context[at]]
            first = level.first[context[at]]
            base = np.where(first > 0, level.ends[first - 1], 0.0)
            last = level.first[context[at] + 1] - 1
            taken = draw < level.ends[last] - base
            place = np.searchsorted(level.ends, base[taken] + draw[taken], side="right")
            word[at[taken]] = level.word[np.minimum(place, last[taken])]
        rest = np.flatnonzero(word == UNSEEN)  # p_0, but for the unknown word
        others = np.array([i for i in range(len(self.words)) if i != self.begin])
        word[rest] = others[rng.integers(0, len(others), len(rest))]
        return word


def _marked(sentence: Sentence) -> list[str]:
    return [BEGIN, *sentence, END]


def _discounts(count: np.ndarray) -> tuple[float, float, float]:
    """Chen & Goodman's D_1, D_2, D_3+ of one order, bounded to what a count can give."""
    n1, n2, n3, n4 = (int((count == k).sum()) for k in (1, 2, 3, 4))
    if not n1 or not n2:
        return 0.5, 0.5, 0.5
    y = n1 / (n1 + 2 * n2)
    d2 = 2 - 3 * y * n3 / n2
    d3 = 3 - 4 * y * n4 / n3 if n3 else d2
    return min(max(1 - 2 * y * n2 / n1, 0.1), 1.0), min(max(d2, 0.1), 2.0), min(max(d3, 0.1), 3.0)
