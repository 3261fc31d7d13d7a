"""The sentences of a report: what they claim, and how numbers and names look in them."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from core.statistics import Difference
from studies.analysis.contrasts import Effect, effects
from studies.analysis.effects import effects_figure
from studies.analysis.plane import ranks
from studies.analysis.ranking import caveats_of_runs, findings
from studies.leaderboard import Leaderboard, Row
from studies.report import _each_once
from studies.sections import between, bracket, contrast, names, number
from studies.table import Contrast

UNCLEAR = "No significant difference between `a` and `b` (n = 15 pairs, interval [-.01, .07])."


def board_of(scores: dict[str, list[float]], higher: bool = True) -> Leaderboard:
    rows = [
        Row(name, float(np.mean(v)), (min(v), max(v)) if len(v) > 1 else None, len(v),
            dict(enumerate(v)), {"ok": len(v)}, {}, name, {})
        for name, v in scores.items()
    ]  # fmt: skip
    rows.sort(key=lambda row: -row.score if higher else row.score)
    return Leaderboard("s", "eval/x", higher, "p", tuple(rows), 0, 0, {"real": 0.9})


def test_rows_with_equal_scores_are_named() -> None:
    board = board_of({"a": [0.5, 0.6], "b": [0.3, 0.4], "c": [0.3, 0.4], "d": [0.3, 0.5]})
    (said,) = (each for each in caveats_of_runs(board) if "same score" in each)
    assert said.startswith("`b` and `c` have the same score in every run")


def test_findings_claim_what_the_intervals_support() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, size=(3, 10))
    scores = {"a": 0.5 + noise[0], "b": 0.5 + noise[1], "c": 0.2 + noise[2]}
    said = findings(board_of({k: list(v) for k, v in scores.items()}))
    assert re.match(
        r"`[ab]` has the highest score on `eval/x`: .* real held-out text: .9.", said[0]
    )
    assert "better than `c`" in said[1]
    unclear = r"^No significant difference from `[ab]` \(n = 10 seeds\)\.$"
    assert re.search(unclear, said[2])
    assert "adjusted for all pairs of 3 rows" in said[3]
    few = findings(board_of({"a": [0.5, 0.6, 0.55], "b": [0.4, 0.5, 0.45], "c": [0.2, 0.3]}))
    assert few[1] == (
        "No significant difference from `b` and `c` (n = 2 to 3 seeds). Without the adjustment for "
        "all pairs, `c` differs significantly."
    )
    low = findings(board_of({"a": [1.0, 1.1], "b": [3.0, 3.1]}, higher=False))
    assert low[0].startswith("`a` has the lowest (best) score on")
    assert "`a` beats `b` by 2" in low[1]


def test_a_comparison_has_one_answer_wherever_it_is_shown() -> None:
    """The interval and p of two rows in the summary and among the contrasts, either
    way round; p, interval and sentence agree.
    """
    rng = np.random.default_rng(1)
    for _ in range(40):
        scores = {"a": list(rng.normal(0.1, 0.1, 5)), "b": list(rng.normal(0, 0.1, 5))}
        board = board_of(scores)
        best, other = (row.variant for row in board.rows)
        (there,) = effects(board, [Contrast(level=best, reference=other)])
        (back,) = effects(board, [Contrast(level=other, reference=best)])
        found = there.difference
        assert back.difference == replace(
            found, value=-found.value, low=-found.high, high=-found.low
        )
        assert found.p == there.adjusted
        assert there.clear == (found.p <= 0.05) == (found.low > 0 or found.high < 0)
        (_, said) = findings(board)
        assert bracket(*found.ends) in said
        assert ("No significant difference" in said) == (not there.clear)


def test_of_a_row_whose_runs_all_failed_there_is_no_verdict() -> None:
    board = board_of({"a": [0.5, 0.51, 0.52], "b": [0.4, 0.41, 0.42], "c": [0.1, 0.1, 0.1]})
    *rows, last = board.rows
    last = replace(last, outcomes={"collapsed": 3}, failed=frozenset(last.scores))
    said = " ".join(findings(replace(board, rows=(*rows, last))))
    assert "All runs of `c` failed, so there is no interval and no verdict." in said
    assert "difference from `c`" not in said


def test_one_seed_supports_no_order() -> None:
    said = findings(board_of({"a": [0.5], "b": [0.4]}))
    assert said[1] == "One seed per variant: the order of the variants is not a result."
    assert "`eval/x`: .5 (n = 1 seed);" in said[0], "one run has no interval"
    assert not any("beats" in sentence or "better" in sentence for sentence in said)
    assert not [*caveats_of_runs(board_of({}))]


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.05, "`a` beats `b` by .03 [.01, .05] (n = 15 pairs)."),
        (-0.05, -0.01, "`b` beats `a` by .03 [.01, .05] (n = 15 pairs)."),
        (-0.01, 0.07, UNCLEAR),
        (0.0, 0.0, "`a` and `b` have the same score (n = 15 pairs)."),
    ],
)
def test_a_contrast_in_words(low: float, high: float, words: str) -> None:
    found = Difference(0.03 if low >= 0 else -0.03, low, high, 0.04, 15, paired=True)
    assert contrast("a", "b", found, higher_is_better=True) == words
    if low > 0:
        down = contrast("a", "b", found, higher_is_better=False)
        assert down.startswith("`b` beats `a` by .03")
    unknown = replace(found, low=math.nan, high=math.nan, pairs=1)
    shown = effects_figure(
        board_of({}), [Effect("", "a", "b", each, each.p) for each in (found, unknown)]
    )
    assert [text.get_text() for text in shown.axes[0].texts] == ["p 0.040"], "no test of one pair"
    single = contrast("a", "b", unknown, higher_is_better=True)
    assert "beats" not in single
    apart = contrast("a", "b", replace(found, paired=False), higher_is_better=True)
    assert "n = 15 pairs of runs" in apart


def test_numbers_and_names() -> None:
    assert [number(v) for v in (0.03, -0.03, 1.5, 0.0, 12345.6, 0.00001)] == [
        ".03", "-.03", "1.5", "0", "1.235e+04", "0",
    ]  # fmt: skip
    assert bracket(-0.5, 1.25) == "[-.5, 1.25]"
    assert [between(ends) for ends in (None, (0.1, 0.25))] == ["one run", "0.1000 to 0.2500"]
    assert names(["a"]) == "`a`"
    assert names(["a", "b"]) == "`a` and `b`"
    assert names(list("abcdef")) == "`a`, `b`, `c`, `d` and 2 more"
    assert ranks([1, 3, 4, 5, 9]) == "1, 3-5, 9"


def test_two_sections_that_see_one_contrast_say_it_once() -> None:
    said = ["No difference (n = 3); minimum .1.", "No difference (n = 3).", "c."]
    assert _each_once(said) == [said[0], "c."]
