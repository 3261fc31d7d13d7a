"""Subword tokens: words come back, only the training split is learned from, metrics see words."""

from __future__ import annotations

import sys
from itertools import takewhile
from pathlib import Path
from string import ascii_lowercase

import pytest
from rich.cells import cell_len

from core.errors import InputError
from core.metrics.suite import Suite
from core.text.build import build_corpus
from core.text.corpus import Corpus
from core.text.settings import CorpusSettings
from core.text.vocabulary import BEGIN
from core.tracking.memory import MemoryTracker
from core.types import UNK
from experiments.corpora import show
from experiments.single_run.checkpoints import sampler_of
from experiments.single_run.run import run
from tests.conftest import tiny
from tests.core.text.test_corpus import sentences, text_file

SUBWORDS = {"level": "subword", "vocabulary_limit": 30, "cleaning": "none"}


def built(folder: Path, lines: list[str] | None = None, **settings: object) -> Corpus:
    folder.mkdir(exist_ok=True)
    source = str(text_file(folder, lines))
    name = f"corpus {settings.get('level')} {settings.get('subwords')}"
    return build_corpus(
        CorpusSettings.model_validate({"source": source, **settings}), folder / name, max_words=100
    )


@pytest.mark.parametrize("method", ["bpe", "unigram"])
def test_words_come_back_in_the_splits_that_words_have(tmp_path: Path, method: str) -> None:
    words = built(tmp_path, cleaning="none")
    found = Corpus.open(built(tmp_path, **SUBWORDS, subwords=method).directory)
    assert len(found.vocabulary) <= 4 + 30
    assert any(not word.startswith(BEGIN) for word in found.vocabulary.words[4:])
    for name, split in found.splits().items():
        assert split.sentences() == words.splits()[name].sentences()
        assert len(split.ids) > len(words.splits()[name].ids)
        assert UNK not in split.ids
    scores = Suite(found.test.sentences(), found.train).evaluate(found.train.sentences(20))
    assert scores["copied"] == 1


def test_the_same_text_has_the_same_corpus(tmp_path: Path) -> None:
    one, other = (built(tmp_path / name, **SUBWORDS) for name in "ab")
    assert one.fingerprint == other.fingerprint


def test_it_learns_from_the_training_split_alone(tmp_path: Path) -> None:
    """Each sentence has a letter of its own. Those outside the training split stay unknown."""
    own = [f"the {chr(0x4E00 + i)} road" for i in range(60)]
    lines = sentences() + own
    for method in ("bpe", "unigram"):
        settings = {**SUBWORDS, "vocabulary_limit": 90, "unknown": "unk"}
        found = built(tmp_path, lines, **settings, subwords=method)
        training = {word for sentence in found.train for word in sentence}
        learned = "".join(found.vocabulary.words)
        assert not [
            c for c in map(chr, range(0x4E00, 0x4E3C)) if c in learned and c not in training
        ]
        assert any("<unk>" in " ".join(sentence) for sentence in found.test)


def test_sentences_with_too_many_subwords_are_dropped(tmp_path: Path) -> None:
    long = [*sentences(), *(f"{letter} xylophonist zwieback " * 5 for letter in ascii_lowercase)]
    found = built(tmp_path, long, **SUBWORDS, max_words=12)
    assert found.manifest.longest <= 12
    assert found.manifest.dropped["too long"] >= 1
    assert "too long (corpus.max_words = 12 subwords)" in found.manifest.warnings[0]


def test_what_cannot_be_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for settings, said in (
        ({"source": "grammar", "level": "subword"}, "needs a text; grammar has words"),
        ({"source": "lstm_oracle", "level": "character"}, "needs a text; lstm_oracle has words"),
        ({"source": "x", "level": "subword"}, "vocabulary_limit = 4000"),
    ):
        with pytest.raises(ValueError, match=said):
            CorpusSettings.model_validate(settings)
    with pytest.raises(InputError, match="vocabulary_limit = 10: its 20 char"):
        built(tmp_path, **{**SUBWORDS, "vocabulary_limit": 10})
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match=r"textgan-lab\[subword\]"):
        built(tmp_path, **SUBWORDS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.txt"]


@pytest.mark.parametrize("is_built", [False, True])
def test_a_run_writes_subwords_and_is_scored_on_words(tmp_path: Path, is_built: bool) -> None:
    """Also if the corpus is a folder, and only the folder knows the level."""
    tracker = MemoryTracker(tmp_path)
    settings = [f"corpus.{key}={value}" for key, value in SUBWORDS.items()]
    source = text_file(tmp_path)
    if is_built:
        source, settings = built(tmp_path, **SUBWORDS, max_words=29).directory, []
    config = tiny(f"corpus.source='{source}'", *settings, "model.length=30", "train.updates=2")
    result = run(config, tracker=tracker)
    sampler = sampler_of(tracker, result.run_id, None)
    drawn = sampler.sample(20)
    assert BEGIN not in " ".join(drawn)
    assert any(" " in sentence for sentence in drawn)
    tags = tracker.run(result.run_id).tags
    assert "|tok:words|" in tags["signature"]
    assert "|level:subword" in tags["signature"]
    words = dict(tracker.history(result.run_id, "eval/length"))[2]
    assert 0 < words < 30


def test_a_run_on_a_folder_of_characters_writes_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = MemoryTracker(tmp_path)
    folder = built(tmp_path, level="character", max_words=39).directory
    config = tiny(f"corpus.source='{folder}'", "model.length=40", "train.updates=2")
    result = run(config, tracker=tracker)
    drawn = sampler_of(tracker, result.run_id, None).sample(20)
    assert any(len(word) > 1 for sentence in drawn for word in sentence.split())
    assert "|tok:characters|" in tracker.run(result.run_id).tags["signature"]
    with pytest.raises(InputError, match=r"was built with level 'character'; leave corpus\.level"):
        run(
            tiny(f"corpus.source='{folder}'", "corpus.level='subword'", "corpus.vocabulary_limit=9")
        )
    capsys.readouterr()
    monkeypatch.setattr("experiments.corpora.stdout.width", 80)
    show(Corpus.open(folder), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    rows = takewhile(lambda line: line[:1].strip(), lines[lines.index("frequent characters") + 1 :])
    assert max(map(cell_len, lines)) <= 80
    assert all(row.split()[-1].replace(",", "").isdigit() for row in rows), "a count ends each line"
