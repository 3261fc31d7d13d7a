"""The split audit: it finds a broken split, a leaking one, and passes a hash split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.metrics.audit import audit
from core.text.build import build_corpus
from core.text.corpus import Corpus
from core.text.grammar import grammar
from core.text.hashing import hash_of
from core.text.settings import CorpusSettings
from tests.conftest import DATA


def test_a_random_split_passes_and_two_sources_do_not() -> None:
    g = grammar("default")
    pool = g.sample(3000, 1)
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(len(pool))
        a, b = ([pool[i] for i in part] for part in np.split(order, [2000]))
        (pair,) = audit({"train": a, "test": b})
        assert pair.words is not None
        assert pair.words.value == pytest.approx(pair.words.resplit_mean, abs=0.03)
        assert pair.warnings() == []
    (pair,) = audit({"train": pool, "test": grammar("hard").sample(2000, 2)})
    (warning,) = pair.warnings()
    assert "split" in warning
    (pair,) = audit({"train": pool, "test": [s[:-1] for s in g.sample(2000, 9)]})
    assert any("split" in warning for warning in pair.warnings())


def test_distances_by_hand_and_duplicates() -> None:
    first, second = [["a", "b"]] * 60, [["a", "c"]] * 30 + [["a", "b"]] * 30
    (pair,) = audit({"x": first, "y": second})
    assert pair.words is not None
    assert pair.lengths is not None
    assert pair.words.value == pytest.approx(0.25)
    assert pair.lengths.value == 0
    assert pair.shared == 0.5
    assert pair.telling["c"] == (0.0, 0.5)
    assert any("leaking split: 50.0%" in warning for warning in pair.warnings())
    assert audit({"x": [["a"]], "y": [["b"]]})[0].words is None
    assert audit({"x": [["a"]], "y": []})[0].shared == 0


def test_the_caption_split_that_everyone_ships_is_found() -> None:
    if not (DATA / "coco_train.txt").exists():
        pytest.skip(f"{DATA} has no coco_train.txt")
    halves = {
        name: [line.split() for line in (DATA / f"coco_{name}.txt").read_text().splitlines()]
        for name in ("train", "test")
    }
    (pair,) = audit(halves)
    assert any("broken split" in warning for warning in pair.warnings())
    assert "bathroom" in pair.telling
    pool = sorted({tuple(s) for half in halves.values() for s in half}, key=hash_of)
    (pair,) = audit({"train": pool[:10_000], "test": pool[10_000:]})
    assert pair.warnings() == []


def test_a_split_is_audited_like_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.metrics.audit.MOST", 60)
    settings = CorpusSettings(sentences=600, difficulty="easy", validation=0.3, test=0.3)
    build_corpus(settings, tmp_path / "corpus")
    splits = Corpus.open(tmp_path / "corpus").splits()
    assert audit(splits) == audit({name: list(split) for name, split in splits.items()})
