"""Scores of texts that no run has generated: when they are computed again, and of how many."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.metrics.catalogue import GROUPS
from experiments import baselines
from experiments.loading import open_corpus
from experiments.single_run import evaluator as evaluator_module
from experiments.single_run.evaluator import Evaluator, Values
from tests.conftest import tiny


def evaluator(folder: Path, *settings: str) -> Evaluator:
    """The evaluator of a tiny run that has not begun to train."""
    config = tiny(*settings)
    corpus = open_corpus(config.corpus, folder, config.model.length)
    return Evaluator(corpus, SimpleNamespace(config=config))  # type: ignore[arg-type]


def test_kept_scores_are_of_these_definitions_of_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = evaluator(tmp_path)

    def kept(value: float) -> Values:
        return own._kept(tmp_path, "of a test", lambda: {"real/fed": value})

    assert kept(1.0) == kept(2.0) == {"real/fed": 1.0}
    newer = replace(GROUPS["fed"], version=GROUPS["fed"].version + 1)
    monkeypatch.setitem(GROUPS, "fed", newer)
    assert kept(3.0) == kept(4.0) == {"real/fed": 3.0}


def test_kept_scores_of_the_language_model_are_of_this_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, names = evaluator(tmp_path), []

    def kept(_: Path, name: str, __: object) -> Values:
        names.append(name)
        return {}

    monkeypatch.setattr(own, "_kept", kept)
    for updates in (2, 2, 3):
        monkeypatch.setattr(baselines, "UPDATES", updates)
        own.baselines(tmp_path, likelihood=True)
    first, second, third = names[1::2]
    assert first == second != third
    assert set(names[::2]) == {"scores"}, "those of other texts do not depend on it"


@pytest.mark.parametrize("source", ["a grammar", "real text"])
def test_real_text_of_fewer_sentences_is_said_to_be_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    own = evaluator(tmp_path, "evaluation.sentences=120")
    if source == "real text":
        own.distribution = None
    monkeypatch.setattr(own, "_kept", lambda *_: {})
    evaluator_module._note.cache_clear()
    own.baselines(tmp_path, likelihood=False)
    own.baselines(tmp_path, likelihood=False)  # of another run in this process
    err = capsys.readouterr().err
    size = len(own.corpus.test)
    assert err.count(f"120 samples, but the row of real text has {size} sentences") == 1
    assert "self_bleu" in err
    assert ("jsd_bound" in err) == (source == "real text")
    assert evaluator(tmp_path, f"evaluation.sentences={size}").few_real_sentences() is None
