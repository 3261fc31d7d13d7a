"""The area of a sweep, and a sweep of a run from the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from core.metrics.bleu import Found
from core.metrics.intervals import Measure
from core.metrics.ngrams import Text
from core.metrics.suite import Suite
from core.tracking.memory import MemoryTracker
from experiments import baselines
from experiments import sweep as module
from experiments.loading import open_corpus
from experiments.single_run.evaluator import Evaluator
from experiments.sweep import Draws, sweep, sweep_run
from studies.analysis.plane import Sweep, area
from tests.conftest import tiny
from tests.experiments.test_cli import QUICK, SMOKE, textgan

SHARE = st.integers(0, 8).map(lambda k: k / 8)


@given(st.lists(st.tuples(SHARE, SHARE), max_size=6))
def test_the_area_is_that_of_the_union_of_rectangles(points: list[tuple[float, float]]) -> None:
    cells = {(i, j) for x, y in points for i in range(int(x * 8)) for j in range(int(y * 8))}
    assert area(points) == pytest.approx(len(cells) / 64)


@pytest.mark.slow
def test_a_run_is_swept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "UPDATES", 2)
    code, out, err = textgan(
        "run", SMOKE, "--json", *QUICK, "--set", "evaluation.keep_best=eval/unique", capsys=capsys
    )
    assert code == 0, err
    run = json.loads(out)["run_id"]
    figure = tmp_path / "plane.png"
    code, out, err = textgan(
        "sweep", run[:8], "--temperatures", "1,.5", "-n", "40", "--output", str(figure), "--json",
        capsys=capsys,
    )  # fmt: skip
    assert code == 0, err
    (found,) = json.loads(out).values()
    assert found["swept"] in ("softmax temperature", "scale of the noise")
    assert [p["temperature"] for p in found["points"]] == [0.5, 1.0]
    assert set(found["baselines"]) == {"real", "unigram", "bigram", "trigram", "mle"}
    assert 0 <= found["area"] <= 1
    one = ("sweep", run[:8], "--temperatures", "1", "-n", "40", "--json", "--split", "test")
    code, out, err = textgan(*one, capsys=capsys)
    assert code == 0, err
    (tested,) = json.loads(out).values()
    assert tested["points"][0]["quality"] != found["points"][1]["quality"]
    assert figure.stat().st_size > 10_000
    code, _, err = textgan("sweep", run[:8], "--temperatures", "0,1", capsys=capsys)
    assert code == 2
    assert "each must be 0.01 to 100" in err
    kept = ("sweep", run[:8], "-n", "40", "--temperatures", "1", "--json", "--at")
    code, out, err = textgan(*kept, "best", capsys=capsys)
    assert code == 0, err
    assert next(iter(json.loads(out))).endswith(" at best)")
    code, _, err = textgan(*kept, "7", capsys=capsys)
    assert code == 2
    assert "no checkpoint '7'; kept are: best" in err


def test_a_bound_of_few_sentences_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = textgan("sweep", "run", "-n", "99", "--bound", capsys=capsys)
    assert code == 2
    assert "-n 99 --bound: jsd_bound needs at least 100 sentences" in err


def test_a_baseline_that_cannot_be_had_is_noted() -> None:
    class Fake:
        spec = SimpleNamespace(has_likelihood=True)

        def tokens(self, count: int, *_: object) -> list[list[str]]:
            return [["a", "b"], ["b", "a"]] * (count // 2)

    def fails() -> list[list[str]]:
        raise InputError("too few")

    baselines = {"real": lambda: [["a", "b"]] * 10, "mle": fails}
    found = sweep(Fake(), Suite([["a", "b"]] * 5), Draws((1.0,), 10), baselines)  # type: ignore[arg-type]
    assert found.points[0].bound is None
    assert set(found.baselines) == {"real"}
    assert found.notes == ("no mle row: too few",)


def test_the_bound_is_that_of_the_drawn_sentences() -> None:
    text = [[f"w{number % 7}", f"v{number % 5}"] for number in range(200)]

    class Writes:
        spec = SimpleNamespace(has_likelihood=True)

        def tokens(self, count: int, temperature: float, *_: object) -> list[list[str]]:
            return text[:count] if temperature == 1 else [["other", "words"]] * count

    swept = sweep(Writes(), Suite(text), Draws((1.0, 2.0), 200, bound=True), {"real": lambda: text})  # type: ignore[arg-type]
    near, far = (point.bound for point in swept.points)
    assert near is not None
    assert far is not None
    assert near < 0.1 < 0.9 < far
    assert swept.points[1].bound_interval is not None
    assert swept.baselines["real"].bound is None


def test_the_bound_is_against_fresh_references_where_there_are_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Writes:
        spec = SimpleNamespace(has_likelihood=True)

        def tokens(self, count: int, *_: object) -> list[list[str]]:
            return [["a", "b"]] * count

    seen: list[object] = []
    measures = Suite.measures

    def watched(self: Suite, samples: Text, groups: Sequence[str]) -> Found:
        if tuple(groups) == ("jsd_bound",):
            seen.append(self.references)
            return {"jsd_bound": Measure(0.5, len(samples), len(self.references))}
        return measures(self, samples, groups)

    monkeypatch.setattr(Suite, "measures", watched)
    suite, fresh = Suite([["a", "b"]] * 5), [["c", "d"]] * 5
    for references in (fresh, []):
        swept = sweep(Writes(), suite, Draws((1.0,), 10, bound=True), {}, fresh=references)  # type: ignore[arg-type]
        assert swept.points[0].bound == 0.5
    assert seen == [fresh, suite.references]


@pytest.mark.parametrize(("split", "stream"), [("validation", "eval"), ("test", "test")])
def test_a_sweep_has_the_fresh_references_of_the_runs_own_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str, stream: str
) -> None:
    config = tiny("seed=3", "evaluation.references=20")
    corpus = open_corpus(config.corpus, tmp_path, config.model.length)
    monkeypatch.setattr(module, "config_of", lambda *_: config)
    monkeypatch.setattr(module, "corpus_of", lambda *_: corpus)
    monkeypatch.setattr(module, "mle_baseline", lambda *_: None)
    given = []

    def watched(*arguments: object) -> Sweep:
        given.append(arguments[-1])
        return Sweep("", (), {}, 0.0, 0)

    monkeypatch.setattr(module, "sweep", watched)
    tracker, sampler = MemoryTracker(tmp_path), SimpleNamespace()
    draws = Draws((1.0,), 20, seed=5, bound=True, split=split)
    sweep_run(tracker, "run", sampler, draws, lambda _: None)  # type: ignore[arg-type]
    sweep_run(tracker, "run", sampler, Draws((1.0,), 20), lambda _: None)  # type: ignore[arg-type]
    evaluator = Evaluator(corpus, SimpleNamespace(config=config))  # type: ignore[arg-type]
    assert given == [evaluator.references(stream, 3), []]
    many = sweep_run(tracker, "run", sampler, Draws((1.0,), 100), lambda _: None)  # type: ignore[arg-type]
    (note,) = many.notes
    assert f"has {len(corpus.test)} sentences: values of self_bleu depend on the number" in note
