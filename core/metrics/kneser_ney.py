r"""An n-gram language model: interpolated modified Kneser-Ney (Chen & Goodman 1998).

Over sentences w_1..w_T between one begin and one end mark, with h a context of n - 1 words,

    p_n(w | h) = (a(h w) - D(a(h w))) / a(h .) + gamma(h) p_{n-1}(w | h'),
    gamma(h)   = (D_1 N_1(h .) + D_2 N_2(h .) + D_3+ N_3+(h .)) / a(h .),

h' the context without its first word. The adjusted count a is the count if n is the order or the
n-gram begins with the begin mark, else the number of different words that precede it (as in KenLM,
Heafield 2011). Discounts are those of Chen & Goodman, for each order; p_0 is uniform over the words
seen, the end and one unknown word. An unseen context gives its whole weight to the lower order.

All counts are in arrays sorted by context, so fitting, scoring and sampling are numpy calls over
all tokens at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from core.metrics.ngrams import UNSEEN, NgramTable, Sentence, Text

ORDER = 4
MAX_LENGTH = 1000  # words of a drawn sentence
BEGIN, END = "\0begin", "\0end"  # no word of a text file has a zero byte
Discounts = tuple[float, float, float]  # D_1, D_2, D_3+ of one order


@dataclass(frozen=True)
class Level:
    """The n-grams of one order: arrays (n-grams + 1,) and (contexts + 1,). The last element is that
    of UNSEEN.
    """

    kept: np.ndarray  # (n-grams + 1,) adjusted count less its discount; 0
    total: np.ndarray  # (contexts + 1,) sum of adjusted counts, 0 where none follows
    backoff: np.ndarray  # (contexts + 1,) gamma; 1


@dataclass(frozen=True)
class Drawn:
    """The n-grams of one order sorted by context, for sampling."""

    word: np.ndarray  # id of the last word (n-grams,)
    ends: np.ndarray  # running total of `kept` (n-grams,)
    first: np.ndarray  # (contexts + 1,) where each context's n-grams begin


class Counted:
    """The n-grams of a text between marks: how often it has each, and which contain which."""

    def __init__(self, sentences: Text, order: int) -> None:
        marked = [marked_sentence(sentence) for sentence in sentences]
        self.table = table = NgramTable(marked, order)
        # For each order, the n-gram that ends at each token (tokens,).
        self.ids = [ids.astype(np.int32) for ids in table.ids(marked)]
        self.starts = np.cumsum([0, *map(len, marked)])
        self.raw = [
            np.bincount(ids[ids != UNSEEN], minlength=table.size(n))
            for n, ids in enumerate(self.ids, start=1)
        ]  # for each order, how often each n-gram occurs (n-grams,)
        self._suffix = [self._inside(n) for n in range(1, table.order)]
        self._opening = [self._begins(n) for n in range(1, table.order)]

    def levels(
        self,
        raw: Sequence[np.ndarray],
        discounts: Sequence[Discounts] | None = None,
        order: int | None = None,
    ) -> list[Level]:
        """A model of these n-grams with the counts `raw`, for each order (n-grams,); its `order` is
        that of the table, or a lower one.
        """
        found, order = [], order or self.table.order
        for n in range(1, order + 1):
            count = self._adjusted(raw, n, n == order)
            fixed = discounts[n - 1] if discounts is not None else None
            found.append(_level(count, self.table.parts(n)[0], self.table.size(n - 1), fixed))
        return found

    def of(self, sentences: np.ndarray) -> list[np.ndarray]:
        """How often some of the sentences have each n-gram, for each order (n-grams,)."""
        lengths = np.diff(self.starts)[sentences]
        places = np.repeat(self.starts[sentences] - np.cumsum(lengths) + lengths, lengths)
        places += np.arange(len(places))
        return [
            np.bincount(some[some != UNSEEN], minlength=len(whole))
            for whole, some in zip(self.raw, (ids[places] for ids in self.ids), strict=True)
        ]

    def _adjusted(self, raw: Sequence[np.ndarray], n: int, is_highest: bool) -> np.ndarray:
        """Adjusted counts (n-grams of order n,); the begin mark is never predicted."""
        if is_highest:
            count = raw[n - 1]
        else:
            suffix, opening = self._suffix[n - 1], self._opening[n - 1]
            count = np.bincount(suffix[raw[n] > 0], minlength=len(raw[n - 1]))
            # No word precedes the begin mark: these n-grams keep their own count.
            count[opening] = raw[n - 1][opening]
        if n == 1:
            count = count.copy()
            count[self.table.words[BEGIN]] = 0
        return count

    def _inside(self, n: int) -> np.ndarray:
        """The id of the last n words of each n-gram of order n + 1."""
        whole, last = self.ids[n], self.ids[n - 1]
        found = np.zeros(self.table.size(n + 1), dtype=np.int64)
        at = whole != UNSEEN
        found[whole[at]] = last[at]
        return found

    def _begins(self, n: int) -> np.ndarray:
        """The n-grams of order n that a sentence begins with."""
        ends = self.starts[:-1] + n - 1
        ends = ends[ends < self.starts[1:]]
        return np.unique(self.ids[n - 1][ends])


class KneserNey:
    """A model of some sentences; `discounts` of each order, None: estimated."""

    def __init__(
        self, sentences: Text, order: int = ORDER, discounts: Sequence[Discounts] | None = None
    ) -> None:
        counted = Counted(sentences, order)
        self.order, self.table = order, counted.table
        self.words = list(self.table.words)
        self.begin, self.end = self.table.words[BEGIN], self.table.words[END]
        self.levels = counted.levels(counted.raw, discounts)

    def score(self, sentences: Text) -> tuple[np.ndarray, np.ndarray]:
        """-log p of each sentence in nats, its end included, and its number of tokens."""
        nll, lengths = self.token_nll(sentences)
        return summed(nll, lengths + 1), lengths

    def token_nll(self, sentences: Text) -> tuple[np.ndarray, np.ndarray]:
        """-log p in nats of each token, behind a 0 for each begin mark, and the number of tokens of
        each sentence, its end included.
        """
        ids, lengths = marked_ids(self.table, sentences)
        return token_nll(self.levels, ids, lengths, len(self.words)), lengths - 1

    @cached_property
    def _drawn(self) -> list[Drawn]:
        found = []
        for n, level in enumerate(self.levels, start=1):
            context, word = self.table.parts(n)
            first = np.searchsorted(context, np.arange(self.table.size(n - 1) + 1))
            found.append(Drawn(word, np.cumsum(level.kept[:-1]), first))
        return found

    def sample(self, count: int, rng: np.random.Generator) -> list[list[str]]:
        """`count` sentences; unknown words are drawn again, and sentences end at MAX_LENGTH."""
        drawn = [np.full(count, self.begin)]
        going = np.ones(count, dtype=bool)
        while going.any() and len(drawn) <= MAX_LENGTH:
            word = np.full(count, self.end)
            known = drawn[max(len(drawn) - self.order + 1, 0) :]
            word[going] = self._next([past[going] for past in known], int(going.sum()), rng)
            drawn.append(word)
            going &= word != self.end
        lines = np.stack(drawn[1:], axis=1) if len(drawn) > 1 else np.empty((count, 0), int)
        return [
            [self.words[word] for word in line[: np.argmax(np.r_[line, self.end] == self.end)]]
            for line in lines
        ]

    def _next(self, past: list[np.ndarray], n: int, rng: np.random.Generator) -> np.ndarray:
        """The next word of each of n sentences; `past` are its last words, oldest first."""
        # Ids of the contexts of order 1, 2, ...
        ids = [np.zeros(n, dtype=np.int64)]
        ids += [self.table.find(past[-length:]) for length in range(1, len(past) + 1)]
        word = np.full(n, UNSEEN)
        for order in range(len(past) + 1, 0, -1):
            level, context = self._drawn[order - 1], ids[order - 1]
            total = self.levels[order - 1].total
            at = np.flatnonzero((word == UNSEEN) & (context != UNSEEN))
            at = at[total[context[at]] > 0]
            draw = rng.random(len(at)) * total[context[at]]
            first = level.first[context[at]]
            base = np.where(first > 0, level.ends[first - 1], 0.0)
            last = level.first[context[at] + 1] - 1
            taken = draw < level.ends[last] - base
            place = np.searchsorted(level.ends, base[taken] + draw[taken], side="right")
            word[at[taken]] = level.word[np.minimum(place, last[taken])]
        rest = np.flatnonzero(word == UNSEEN)  # p_0 without the unknown word
        others = np.array([i for i in range(len(self.words)) if i != self.begin])
        word[rest] = others[rng.integers(0, len(others), len(rest))]
        return word


def token_nll(
    levels: Sequence[Level], ids: Iterable[np.ndarray], lengths: np.ndarray, words: int
) -> np.ndarray:
    """-log p (tokens,) in nats of the tokens of marked sentences of `lengths` tokens; 0 for begin
    marks. `ids` are the n-grams of each order that end at each token (tokens,); `words` is the
    number of words of the model, the end and the unknown one included.
    """
    p = np.full(int(lengths.sum()), 1.0 / words)
    before = np.zeros(len(p), dtype=np.int64)
    for level, of_order in zip(levels, ids, strict=True):
        total = level.total[before]
        share = np.divide(level.kept[of_order], total, out=np.zeros(len(p)), where=total > 0)
        p = share + level.backoff[before] * p
        before = np.roll(of_order, 1)
    p[np.cumsum(lengths) - lengths] = 1.0  # the begin mark is given
    return np.asarray(-np.log(p))


def token_nll_by_order(training: Text, sentences: Text, order: int) -> Iterator[np.ndarray]:
    """What `KneserNey(training, n).token_nll(sentences)` gives (tokens,), for n = 1..order. The
    n-grams are counted once.
    """
    counted = Counted(training, order)
    found, lengths = marked_ids(counted.table, sentences)
    ids = list(found)
    for n in range(1, order + 1):
        levels = counted.levels(counted.raw, order=n)
        yield token_nll(levels, ids[:n], lengths, len(counted.table.words))


def summed(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The sum of the values of each sentence (sentences,)."""
    owner = np.repeat(np.arange(len(lengths)), lengths)
    return np.asarray(np.bincount(owner, values, minlength=len(lengths)))


def marked_sentence(sentence: Sentence) -> list[str]:
    """The sentence between a begin and an end mark."""
    return [BEGIN, *sentence, END]


def marked_ids(table: NgramTable, sentences: Text) -> tuple[Iterator[np.ndarray], np.ndarray]:
    """For each order, the n-gram that ends at each token of the sentences between marks (tokens,);
    and the numbers of their tokens, marks included (sentences,).
    """
    marked = [marked_sentence(sentence) for sentence in sentences]
    return table.ids(marked), np.array([len(sentence) for sentence in marked], dtype=np.int64)


def _level(count: np.ndarray, context: np.ndarray, contexts: int, fixed: Discounts | None) -> Level:
    d = np.array([0.0, *(fixed or _discounts(count))])
    lost = d[np.minimum(count, 3)]
    total = np.bincount(context, count, minlength=contexts)
    given = np.bincount(context, lost, minlength=contexts)
    backoff = np.divide(given, total, out=np.ones(contexts), where=total > 0)
    return Level(np.append(count - lost, 0.0), np.append(total, 0), np.append(backoff, 1.0))


def _discounts(count: np.ndarray) -> Discounts:
    """Chen & Goodman's D_1, D_2, D_3+ of one order, bounded by the count itself."""
    n1, n2, n3, n4 = (int((count == k).sum()) for k in (1, 2, 3, 4))
    if not n1 or not n2:
        return 0.5, 0.5, 0.5
    y = n1 / (n1 + 2 * n2)
    d2 = 2 - 3 * y * n3 / n2
    d3 = 3 - 4 * y * n4 / n3 if n3 else d2
    return min(max(1 - 2 * y * n2 / n1, 0.1), 1.0), min(max(d2, 0.1), 2.0), min(max(d3, 0.1), 3.0)
