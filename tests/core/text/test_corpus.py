"""Readers, cleaning, and the corpus on disk; bad input gets words and leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError, MachineError
from core.text import build as building
from core.text import cleaning
from core.text.build import build_corpus, prepare_corpus, source_sha256, split_of
from core.text.cleaning import clean, clean_all
from core.text.corpus import Corpus, describe
from core.text.hashing import HashSet
from core.text.readers import READERS, kind_of
from core.text.settings import CorpusSettings, Kind, rules_for
from core.text.vocabulary import SPECIALS, Vocabulary
from core.training.batches import Batches
from core.types import END, PAD, UNK

WORDS = ["river", "stone", "quiet", "song", "finds", "keeps", "every", "the", "old", "road"]


def sentences(count: int = 200) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, size=rng.integers(3, 9))) for _ in range(count)]


def text_file(folder: Path, lines: list[str] | None = None) -> Path:
    file = folder / "text.txt"
    file.write_text("\n".join(lines if lines is not None else sentences()) + "\n")
    return file


def test_some_sentences_of_a_split_are_from_all_of_it(tmp_path: Path) -> None:
    """A file may be several files in a row, each with its own kind of text."""
    file = tmp_path / "two.txt"
    names = ["".join("abcdefghij"[int(digit)] for digit in str(i)) for i in range(1000)]
    file.write_text("".join(f"{kind} text {name}\n" for kind in "ab" for name in names))
    split = prepare_corpus(CorpusSettings(source=str(file)), tmp_path, max_words=5).validation
    assert len(split) > 100
    kinds = [sentence[0] for sentence in split.sentences(40)]
    assert 14 <= kinds.count("a") <= 26
    assert split.sentences(len(split) + 1) == split.sentences() == list(split)


def test_a_corpus_holds_what_the_file_held(tmp_path: Path) -> None:
    lines = sorted(set(sentences()))
    corpus = build_corpus(CorpusSettings(source=str(text_file(tmp_path, lines))), tmp_path / "c")
    found = sorted(" ".join(s) for split in corpus.splits().values() for s in split)
    assert found == lines
    assert corpus.manifest.kept == len(lines) == corpus.manifest.read
    assert describe(corpus)["in_train_too"] == {"validation": 0, "test": 0}


def test_rows_are_words_end_and_padding(tmp_path: Path) -> None:
    corpus = build_corpus(CorpusSettings(source=str(text_file(tmp_path))), tmp_path / "c")
    rows = corpus.train.rows(np.arange(len(corpus.train)), 10)
    for row, words in zip(rows, corpus.train, strict=True):
        assert corpus.vocabulary.decode(row) == words
        assert row[len(words)] == END
        assert (row[len(words) + 1 :] == PAD).all()
    with pytest.raises(InputError, match=r"model\.length = 4"):
        Batches(corpus.train, 2, 4, seed=0)  # before a run begins, not in its midst
    with pytest.raises(InputError, match=r"train\.batch_size = 999"):
        Batches(corpus.train, 999, 10, seed=0)


def test_building_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    settings = CorpusSettings(source=str(text_file(tmp_path)))
    a, b = (build_corpus(settings, tmp_path / name) for name in "ab")
    assert a.fingerprint == b.fingerprint


def test_duplicates_go_before_the_split_and_a_sentence_keeps_its_split(tmp_path: Path) -> None:
    lines = sentences() * 2
    settings = CorpusSettings(source=str(text_file(tmp_path, lines)))
    corpus = build_corpus(settings, tmp_path / "c")
    assert corpus.manifest.dropped["duplicate"] == len(lines) - len(set(lines))
    for name, split in corpus.splits().items():
        assert all(split_of(words, settings) == name for words in split)


def test_cleaning_on_all_cores_gives_the_same_in_the_same_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cleaning, "BLOCK", 20)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    texts = [f"The old road {'a' * (i % 7 + 1)} runs, don't wait {i}." for i in range(1000)]
    rules = rules_for(CorpusSettings(), "lines", None)
    plain = [clean(text, "original", "word") for text in texts]
    assert list(clean_all(iter(texts), rules, "word")) == plain
    begun = clean_all(iter(texts), rules, "word")
    assert next(begun) == plain[0]
    begun.close()


def test_seen_is_a_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.text.hashing.RECENT", 64)
    rng, plain, seen = np.random.default_rng(0), set[int](), HashSet()
    for key in rng.integers(0, 2**64, size=700, dtype=np.uint64)[rng.integers(0, 700, size=3000)]:
        assert seen.add(int(key)) == (int(key) not in plain)
        plain.add(int(key))


def test_fortunes_lose_their_authors(tmp_path: Path) -> None:
    file = tmp_path / "fortunes"
    file.write_text("A wise man waits.\n\t\t-- Anon\n%\nOne road\nruns on. Two roads meet!\n%\n")
    settings = CorpusSettings(source=str(file))
    assert kind_of(file, settings) == "fortune"
    found = list(READERS["fortune"](file, settings))
    assert found == ["A wise man waits.", "One road runs on.", "Two roads meet!"]


def test_csv_column_and_shards(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text('id,text\n1,"a line\nof text"\n2,another one\n')
    settings = CorpusSettings(source=str(table))
    assert list(READERS["csv"](table, settings)) == ["a line of text", "another one"]
    with pytest.raises(InputError, match=r"no column 'body'.*id, text"):
        list(READERS["csv"](table, CorpusSettings(source=str(table), column="body")))
    shards = tmp_path / "shards"
    (shards / "b").mkdir(parents=True)
    (shards / "b" / "2.txt").write_text("second\n")
    (shards / "a.txt").write_text("first\n")
    assert kind_of(shards, settings) == "shards"
    assert list(READERS["shards"](shards, settings)) == ["first", "second"]
    folder = CorpusSettings(source=str(shards))
    before = source_sha256(folder, "shards")
    assert source_sha256(folder, "shards") == before
    (shards / "a.txt").rename(shards / "a.csv")
    assert source_sha256(folder, "shards") != before, "the suffix says how it is read"


def test_cleaning_is_the_originals() -> None:
    assert clean("The cat's 3 hats, isn't it?", "original", "word").words == [
        "the", "cat", "hats", "is", "it",
    ]  # fmt: skip
    assert clean("wait 1 2 3 4", "original", "word").kept == pytest.approx(0.2)
    assert clean("As, Is!", "none", "word").words == ["As,", "Is!"]
    assert "".join(clean("a cat", "original", "character").words) == "a\u2581cat"


def test_a_small_vocabulary_drops_or_marks(tmp_path: Path) -> None:
    source = str(text_file(tmp_path))
    whole = build_corpus(CorpusSettings(source=source), tmp_path / "whole")
    dropped = build_corpus(CorpusSettings(source=source, vocabulary_limit=8), tmp_path / "d")
    assert dropped.manifest.dropped["not covered by the vocabulary"] > 0
    marked = build_corpus(
        CorpusSettings(source=source, vocabulary_limit=8, unknown="unk"), tmp_path / "m"
    )
    assert marked.manifest.kept == whole.manifest.kept
    assert (np.asarray(marked.train.ids) == UNK).any()
    with pytest.raises(InputError, match=r"corpus\.vocabulary_limit = 1"):
        build_corpus(CorpusSettings(source=source, vocabulary_limit=1), tmp_path / "n")


def test_vocabulary_orders_by_frequency_then_alphabet(tmp_path: Path) -> None:
    made = Vocabulary.from_counts({"b": 2, "a": 2, "c": 5, "<pad>": 9}, 10)
    assert made.words == (*SPECIALS, "c", "a", "b")
    made.save(tmp_path / "v")
    assert Vocabulary.load(tmp_path / "v") == made


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n\n", "no sentence"),
        (b"a line\nof \xff bytes\n", ":2: not UTF-8"),
        (b"PK\x00\x03", "binary"),
        ("two lines\nof text\n".encode("utf-16"), ":1: this is UTF-16"),
        (b"x" * 1_000_002, "a line of over"),
        (b"one two three\n", "too few for three splits (train, validation, test); give a longer"),
        (b"word " * 9 + b"\n", "dropped: 1 too long (corpus.max_words = 8)"),
        (b"two words\n" * 3, "dropped: 3 too short (corpus.min_words = 3)"),
        (b"1 2 3 4 word\n", "dropped: 1 too few words kept (corpus.min_kept = 0.9)"),
    ],
)
def test_bad_files_get_words_and_leave_nothing(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "bad.txt"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        build_corpus(CorpusSettings(source=str(file)), tmp_path / "out" / "c", max_words=8)
    assert words in str(caught.value)
    assert "bad.txt" in str(caught.value)
    assert not list((tmp_path / "out").glob("*"))


def test_a_full_disk_is_the_machines_fault_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(building, "_encode", full)
    with pytest.raises(MachineError, match="No space left"):
        build_corpus(CorpusSettings(source=str(text_file(tmp_path))), tmp_path / "out" / "c")
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize("found", [0, 2])
def test_a_corpus_of_another_format_is_refused_in_words(found: int, tmp_path: Path) -> None:
    corpus = build_corpus(CorpusSettings(source=str(text_file(tmp_path))), tmp_path / "c")
    file = corpus.directory / "manifest.json"
    file.write_text(file.read_text().replace('"format": 1', f'"format": {found}'))
    with pytest.raises(InputError, match=f"corpus format {found}, this version reads 1"):
        Corpus.open(corpus.directory)


def test_a_damaged_corpus_is_refused(tmp_path: Path) -> None:
    corpus = build_corpus(CorpusSettings(source=str(text_file(tmp_path))), tmp_path / "c")
    (corpus.directory / "train.ids").write_bytes(b"12")
    with pytest.raises(InputError, match="damaged"):
        Corpus.open(corpus.directory)
    (corpus.directory / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match=r"manifest\.json"):
        Corpus.open(corpus.directory)


def test_a_run_builds_its_corpus_once(tmp_path: Path) -> None:
    settings = CorpusSettings(source="grammar", difficulty="easy", sentences=200)
    first = prepare_corpus(settings, tmp_path, max_words=11)
    second = prepare_corpus(settings, tmp_path, max_words=11)
    assert first.directory == second.directory
    assert first.manifest.kept == 200
    built = CorpusSettings(source=str(first.directory), in_memory=True)
    assert prepare_corpus(built, tmp_path, max_words=5).fingerprint == first.fingerprint


@pytest.mark.parametrize("kind", ["lines", "fortune", "csv"])
@given(data=st.binary(max_size=300))
def test_any_bytes_give_text_or_words(
    tmp_path_factory: pytest.TempPathFactory, kind: Kind, data: bytes
) -> None:
    file = tmp_path_factory.mktemp("bytes") / "x"
    file.write_bytes(data)
    try:
        for text in READERS[kind](file, CorpusSettings(source=str(file))):
            assert text.strip()
    except InputError as error:
        assert str(file) in str(error)
