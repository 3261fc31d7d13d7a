"""n-grams are counted as a Counter counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from core.metrics.ngrams import Counts, NgramTable, Sentence, three_largest

ORDER = 4
sentences = st.lists(st.lists(st.sampled_from("abcd"), max_size=9), max_size=8)


def plainly(text: Sequence[Sentence], n: int) -> list[Counter[tuple[str, ...]]]:
    return [Counter(zip(*(words[i:] for i in range(n)), strict=False)) for words in text]


def shape(counts: Counts, many: int) -> list[list[int]]:
    """Of each sentence the counts, sorted: all that is left without the n-grams' names."""
    found: list[list[int]] = [[] for _ in range(many)]
    for s, c in zip(counts.sentence.tolist(), counts.count.tolist(), strict=True):
        found[s].append(c)
    return [sorted(each) for each in found]


def sorted_counts(counters: Iterable[Counter[tuple[str, ...]]]) -> list[list[int]]:
    return [sorted(each.values()) for each in counters]


@settings(deadline=None)
@given(sentences, sentences)
def test_counts(text: list[list[str]], other: list[list[str]]) -> None:
    table = NgramTable(text, ORDER)
    for n, counts in enumerate(table.count(text), start=1):
        plain = plainly(text, n)
        assert shape(counts, len(text)) == sorted_counts(plain)
        whole = sum(plain, Counter())
        assert table.size(n) == len(whole)
        per_gram: Counter[int] = Counter()
        for gram, count in zip(counts.gram.tolist(), counts.count.tolist(), strict=True):
            per_gram[gram] += count
        assert sorted(per_gram.values()) == sorted(whole.values())
    for n, counts in enumerate(table.count(other), start=1):
        known = set().union(*plainly(text, n))
        kept = [
            Counter({gram: c for gram, c in each.items() if gram in known})
            for each in plainly(other, n)
        ]
        assert shape(counts, len(other)) == sorted_counts(kept)


@settings(deadline=None)
@given(sentences)
def test_three_largest(text: list[list[str]]) -> None:
    table = NgramTable(text, 2)
    for n, counts in enumerate(table.count(text), start=1):
        entries = counts.sentence, counts.gram, counts.count
        largest, owners = three_largest(counts, table.size(n))
        for gram in range(table.size(n)):
            has = [(-c, s) for s, g, c in zip(*map(list, entries), strict=True) if g == gram]
            has = [*sorted(has), (0, -1), (0, -1), (0, -1)][:3]
            assert [-c for c, _ in has] == largest[:, gram].tolist()
            assert [s for _, s in has][:2] == owners[:, gram].tolist()
