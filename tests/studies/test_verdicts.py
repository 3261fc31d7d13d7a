"""Rows in two parts and verdicts: failed runs, metrics without a worst value, the margin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from core.errors import InputError
from core.metrics.catalogue import METRICS
from core.tracking.memory import MemoryTracker
from studies.analysis.contrasts import against_first, effects, row_pairs, with_contrasts
from studies.analysis.ranking import board_cells, findings
from studies.leaderboard import Leaderboard, _signatures, leaderboard
from studies.report import build, publish, read, register
from studies.table import Contrast
from tests.studies.test_findings import board_of
from tests.studies.test_studies import NAME, FakeTraining, plan, start

SMALL = ("study.axes.next_input=['noise']", "study.axes.noise_mapping=['full']")
GOOD, BAD = "noise · gumbel_softmax · full", "noise · detached · full"


def study_with(
    folder: Path, runs: Mapping[tuple[str, int], tuple[float | None, str]], *overrides: str
) -> MemoryTracker:
    """A study of two variants and four seeds; some runs have another score (None: no score) and
    outcome.
    """
    tracker, _ = start(folder, plan("study.seeds=4", *SMALL, *overrides), FakeTraining())
    metric = leaderboard(tracker, NAME).metric
    for run in tracker._runs.values():
        if run.tags["level"] != "seed":
            continue
        run.points.setdefault(metric, dict(run.points["eval/ms_jaccard_2"]))
        value, outcome = runs.get((run.tags["variant"], int(run.tags["seed"])), (0.5, "ok"))
        if (run.tags["variant"], int(run.tags["seed"])) in runs:
            run.points.pop(metric)
            run.log_metrics({metric: value}, 1)
            run.tags["outcome"] = outcome
    return tracker


def test_every_ranking_metric_has_a_worst_value_or_none() -> None:
    worst = {name: info.worst for name, info in METRICS.items() if info.direction != "near"}
    assert (worst["jsd"], worst["jsd_bound"], worst["self_bleu_4"]) == (1, 1, 1)
    assert (worst["valid"], worst["bleu_2"], worst["ms_jaccard_2"]) == (0, 0, 0)
    assert worst["nll_gen"] is None
    assert METRICS["entropy"].worst is None


def test_a_collapsed_run_keeps_its_score_and_one_without_samples_gets_the_worst(
    tmp_path: Path,
) -> None:
    runs = {(GOOD, 0): (0.3, "collapsed"), (GOOD, 1): (None, "diverged")}
    row = next(r for r in leaderboard(study_with(tmp_path, runs), NAME).rows if r.variant == GOOD)
    assert row.scores == pytest.approx({0: 0.3, 1: 0.0, 2: 0.62, 3: 0.63})
    assert row.failed == {0, 1}
    assert row.score == pytest.approx(np.mean([0.3, 0.0, 0.62, 0.63]))
    assert row.survivors == pytest.approx(0.625)
    assert row.document()["failures"] == 2


def test_a_metric_without_a_worst_value_does_not_rank_failures(tmp_path: Path) -> None:
    metric = 'study.metric="eval/nll_gen"'
    runs: dict[tuple[str, int], tuple[float | None, str]] = {(GOOD, 0): (2.0, "collapsed")}
    tracker = study_with(tmp_path, runs, metric)
    board, _ = publish(tracker, NAME)
    assert not board.ranked
    row = next(row for row in board.rows if row.variant == GOOD)
    assert (row.score, row.interval) == (None, None)
    assert row.survivors_interval is not None
    assert "cannot rank a study in which runs failed" in findings(board)[0]
    document = with_contrasts(board, [])
    assert (
        document["leaderboard"][0]["score"] is None or document["leaderboard"][1]["score"] is None
    )
    assert "verdict" in document["leaderboard"][0]
    assert "1 of 4" in build(read(tracker, NAME)).markdown()
    with pytest.raises(InputError, match="cannot rank it"):
        register(read(tracker, NAME), "writer")


def test_a_report_needs_no_score_of_its_first_rows(tmp_path: Path) -> None:
    metric = 'study.metric="eval/nll_gen"'
    lost = {("last_token · detached · full", seed): (None, "collapsed") for seed in range(4)}
    overrides = ("study.axes.next_input=['noise','last_token']", metric)
    tracker = study_with(tmp_path, lost, *overrides)  # type: ignore[arg-type]
    reading = read(tracker, NAME)
    assert [bool(row.scores) for row in reading.board.rows][:2] != [True, True]
    assert "probability that a run of" in build(reading).markdown()


def test_a_row_of_runs_that_were_scored_in_two_ways_is_named() -> None:
    ways = [f"textgan|v:1|metrics:0|n:50|refs:50:{way}|tok:words" for way in ("ab", "cd")]
    runs = [
        SimpleNamespace(variant=variant, tags={"signature": ways[way]})
        for variant, way in (("a", 0), ("a", 1), ("b", 1), ("b", 0), ("b", 1), ("c", 1))
    ]
    most, others = _signatures("eval/jsd_bound", runs)  # type: ignore[arg-type]
    assert set(others) == {"a", "b"}
    assert most not in others.values()


def verdicts(board: Leaderboard) -> dict[str, str]:
    return {each.title: each.shown for each in row_pairs(board)}


def test_a_verdict_is_one_of_four() -> None:
    noise = np.random.default_rng(0).normal(0, 0.001, size=(4, 6))
    scores = {
        "a": 0.5 + noise[0], "b": 0.495 + noise[1], "c": 0.2 + noise[2],
        "d": 0.4 + 100 * noise[3],
    }  # fmt: skip
    board = board_of({name: list(values) for name, values in scores.items()})
    plain = verdicts(board)
    assert (plain["a - b"], plain["a - c"], plain["a - d"]) == ("better", "better", "undecided")
    found = verdicts(replace(board, margin=0.02))
    assert found["a - b"] == "equivalent (better)", "a significant difference within the margin"
    assert found["a - c"] == "better"
    lower = verdicts(replace(board, higher_is_better=False, rows=board.rows[::-1]))
    assert lower["c - a"] == "better"
    against = against_first(replace(board, margin=0.02))
    assert {name: each.verdict for name, each in against.items()} == {
        "b": "equivalent", "d": "undecided", "c": "worse",
    }  # fmt: skip
    said = findings(replace(board, margin=0.02))
    assert said[1:3] == ["It is better than `c`.", "`a` is equivalent to `b` (margin .02)."]
    two = findings(replace(board, margin=0.02, rows=board.rows[:2]))
    assert two[-1].endswith("Equivalent: the difference is within the study's margin.")
    assert not any("quivalent" in each for each in findings(board))
    assert [cells[-1] for cells in board_cells(board)] == ["", *(
        {"b": "worse", "c": "worse", "d": "undecided"}[row.variant] for row in board.rows[1:]
    )]  # fmt: skip
    named = effects(replace(board, margin=0.02), [Contrast(level="b", reference="a")])
    assert named[0].shown == "equivalent (worse)"
    assert named[0].document()["verdict"] == "equivalent"


def test_the_margin_is_a_setting_and_verdicts_are_published(tmp_path: Path) -> None:
    tracker, _ = start(tmp_path, plan("study.seeds=3", *SMALL, "study.margin=0.02"), FakeTraining())
    board, _ = publish(tracker, NAME)
    assert board.margin == 0.02
    assert tracker.run(board.rows[1].run_id or "").tags["verdict"] == "worse"
    document = with_contrasts(board, effects(board, read(tracker, NAME).table.contrasts))
    assert [row["verdict"] for row in document["leaderboard"]] == [None, "worse"]
    (contrast,) = document["contrasts"]
    assert (contrast["a"], contrast["b"], contrast["verdict"]) == (
        "gumbel_softmax", "detached", "better",
    )  # fmt: skip
    assert "margin of 0.02" in build(read(tracker, NAME)).markdown()


@pytest.mark.parametrize("margin", ["0", "-0.1"])
def test_a_margin_that_is_not_above_zero_is_refused(margin: str) -> None:
    with pytest.raises(InputError, match=r"study\.margin.*must be above 0"):
        plan(f"study.margin={margin}")
