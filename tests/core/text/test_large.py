"""What a corpus of any size costs a process: its order, its sentences' keys, its files."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.text import corpus as corpora
from core.text import hashing
from core.text.build import build_corpus
from core.text.corpus import Corpus, MappedFile, Resident, describe, resident_file_bytes
from core.text.hashing import FeistelOrder, keys_of, shuffled
from core.text.settings import CorpusSettings
from core.training.batches import Batches
from tests.core.text.test_corpus import text_file


def computed(count: int, seed: int) -> np.ndarray:
    return FeistelOrder(count, np.random.Generator(np.random.PCG64(seed)))[0:count]


@given(count=st.integers(1, 3000), seed=st.integers(0, 2**63 - 1))
def test_a_computed_order_has_everything_once(count: int, seed: int) -> None:
    assert sorted(computed(count, seed)) == list(range(count))


def test_a_computed_order_is_one_of_all_orders() -> None:
    """Of four sentences all 24 orders, about equally often: chi-squared of 23 degrees, p > .001."""
    times: dict[tuple[int, ...], int] = {}
    for seed in range(4800):
        found = tuple(computed(4, seed).tolist())
        times[found] = times.get(found, 0) + 1
    assert len(times) == 24
    assert sum((n - 200) ** 2 / 200 for n in times.values()) < 49.7


def test_neighbours_of_a_computed_order_know_nothing_of_each_other() -> None:
    found = computed(100_000, 1)
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.01
    assert abs(np.corrcoef(found, np.arange(100_000))[0, 1]) < 0.01
    stretch = FeistelOrder(100_000, np.random.Generator(np.random.PCG64(1)))[500:510]
    assert (stretch == found[500:510]).all()


def test_what_fits_is_shuffled_as_ever() -> None:
    plain = np.random.Generator(np.random.PCG64(7)).permutation(50)
    assert (shuffled(50, 7)[0:50] == plain).all()
    assert isinstance(shuffled(hashing.SHUFFLED + 1, 7), FeistelOrder)


@pytest.mark.parametrize("held", [hashing.SHUFFLED, 0])
def test_a_batch_reads_its_sentences_once_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    monkeypatch.setattr(hashing, "SHUFFLED", held)
    corpus = build_corpus(CorpusSettings(source=str(text_file(tmp_path))), tmp_path / "c")
    read: list[int] = []
    plain = corpora.Split.rows

    def spied(split: corpora.Split, indices: np.ndarray, length: int) -> np.ndarray:
        read.extend(indices.tolist())
        return plain(split, indices, length)

    monkeypatch.setattr(corpora.Split, "rows", spied)
    whole = Batches(corpus.train, 8, 10, 3)
    for epoch in range(2):
        read.clear()
        for number in range(epoch * whole.per_epoch, (epoch + 1) * whole.per_epoch):
            whole.batch(number)
            whole.batch(number)  # a generator step asks for it again
        assert len(read) == len(set(read)) == 8 * whole.per_epoch


def test_keys_are_those_of_words_and_places() -> None:
    ids, lengths = np.array([4, 5, 5, 4, 4, 5, 4], dtype=np.uint16), np.array([2, 2, 0, 2, 1])
    keys = keys_of(ids, lengths)
    assert keys[0] == keys[3]
    assert len(set(keys.tolist())) == 4
    assert keys[2] == 0


def test_known_is_the_set_of_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "PIECE", 7)
    settings = CorpusSettings(source=str(text_file(tmp_path)), vocabulary_limit=8, unknown="unk")
    corpus = build_corpus(settings, tmp_path / "c")
    plain, known = {tuple(words) for words in corpus.train}, corpus.train.sentence_set()
    assert len(known) == len(corpus.train)
    assert known.contains(sorted(plain)).all()
    others = [tuple(words) for words in corpus.validation] + [("river",), ("unheard", "of"), ()]
    mixed = [*others, *sorted(plain), ("river", "unheard"), (), *others]
    assert known.contains(mixed).tolist() == [words in plain for words in mixed]
    assert known.contains([]).tolist() == []
    (some, *_) = (words for words in plain if "<unk>" in words)
    other = tuple("another" if word == "<unk>" else word for word in some)
    assert known.contains([some, other]).tolist() == [True, False], "a strange word is not <unk>"


def test_reading_in_pieces_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = build_corpus(CorpusSettings(source=str(text_file(tmp_path))), tmp_path / "c")
    whole, described = list(corpus.train), describe(corpus)
    lengths = [len(words) for split in corpus.splits().values() for words in split]
    assert described["length_quantiles"] == np.quantile(lengths, [0, 0.25, 0.5, 0.75, 1]).tolist()
    monkeypatch.setattr(corpora, "PIECE", 3)
    monkeypatch.setattr(corpora, "ROWS", 3)
    again = Corpus.open(tmp_path / "c")
    assert list(again.train) == whole == [again.train.sentence(i) for i in range(len(whole))]
    rows = np.arange(len(whole))[::-1]
    assert (again.train.rows(rows, 10) == corpus.train.rows(rows, 10)).all()
    assert describe(again) == described


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_more_of_a_file_is_held_than_its_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora, "MAX_RESIDENT", 2**22)
    with (tmp_path / "x").open("wb") as file:
        file.truncate(2**27)
    found = MappedFile(tmp_path / "x", np.dtype(np.int64))
    resident = Resident([found])
    before, most = resident_file_bytes(), 0
    for begin, end in pairwise(np.linspace(0, 2**24, 129).astype(int)):
        assert found.values[begin:end].sum() == 0
        resident.limit()
        most = max(most, resident_file_bytes() - before)
    assert most < 2**23
    assert found.values[0] == 0
