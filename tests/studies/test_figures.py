"""Figures of a report: their axes, and the data that they show."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from core.statistics import Interval
from studies.analysis.curves import curves_figure, middle
from studies.figures import (
    BLUE,
    _label_powers,
    band,
    canvas,
    data_of,
    forest,
)
from tests.studies.test_findings import board_of


def test_the_data_of_a_figure_are_what_it_shows() -> None:
    drawing, axis = forest(["first", "second"], [1.0, 2.0], [(0.5, 1.5), None], [BLUE, BLUE])
    axis.axvline(0)  # shows no data
    axis.barh(0, 3.0)
    assert data_of(drawing) == [
        ("", 1, "line", "", 2.0, "second"),
        ("", 2, "line", "", 0.5, "first"),
        ("", 2, "line", "", 1.5, "first"),
        ("", 3, "line", "", 1.0, "first"),
        ("", 4, "bar", "", 3.0, "second"),
    ]
    drawing, axis = canvas(4, 3)
    band(axis, [0, 1], [Interval(1.0, 0.5, 1.5), Interval(2.0, 1.5, 2.5)], "both")
    axis.set_title("a\npanel", loc="left")
    found = data_of(drawing)
    assert found[:2] == [("a panel", 1, "line", "both", x, x + 1.0) for x in (0.0, 1.0)]
    assert {(0.0, 0.5), (0.0, 1.5), (1.0, 1.5), (1.0, 2.5)} == {row[4:] for row in found[2:]}
    assert {row[1:3] for row in found[2:]} == {(2, "band")}
    drawing, axis = canvas(4, 3)
    axis.scatter([1.0, 2.0], [3.0, 4.0], label="runs")
    axis.set_xlabel("updates")
    assert data_of(drawing) == [("updates", 1, "points", "runs", x, x + 2) for x in (1.0, 2.0)]


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [(1e-4, 2e-2, "0.0001 0.001 0.01"), (2e-4, 3e-3, "0.0002 0.0005 0.001 0.002"),
     (0.8, 90, "1 10"), (25, 95, "50")],
)  # fmt: skip
def test_a_logarithmic_axis_has_plain_numbers(low: float, high: float, shown: str) -> None:
    _, axis = canvas(4, 3)
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    _label_powers(axis.xaxis)
    labels = axis.get_xticklabels(which="both")
    texts = [label.get_text().replace("\N{MINUS SIGN}", "-") for label in labels]
    assert sorted(text for text in texts if text and low <= float(text) <= high) == shown.split()


def test_the_band_of_a_curve_has_one_variance_for_each_step() -> None:
    """Runs that differ by a constant are no more certain at 20 steps than at one."""
    seeds = {0: 0.1, 1: 0.2, 2: 0.4}
    points = {seed: [(step, value) for step in range(20)] for seed, value in seeds.items()}
    _, line = middle(points, (-10.0, 10.0))
    alone = stats.t.interval(0.95, 2, np.mean([*seeds.values()]), stats.sem([*seeds.values()]))
    assert all(each.ends == pytest.approx(alone) for each in line)


def test_a_band_stays_within_the_metric_and_a_long_curve_hides_no_short_one() -> None:
    points = {0: [(0, 0.0), (10, 0.01)], 1: [(0, 0.0), (10, 0.9)], 2: [(0, 0.1), (10, 0.02)]}
    steps, line = middle(points, (0.0, 1.0))
    assert steps == [0, 10]
    assert min(each.low for each in line) >= 0
    assert max(each.high for each in line) <= 1
    rows = board_of({"long": [0.5], "short": [0.4]}).rows
    found = {"long": {0: [(0, 0.0), (1000, 0.5)]}, "short": {0: [(0, 0.0), (20, 0.4)]}}
    drawing = curves_figure(rows, found, None, "eval/bleu_4")
    axis = drawing.axes[0]
    assert axis.get_xscale() == "symlog"
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0", "100", "1000"]
    assert "logarithmic" in str(drawing.get_supxlabel())
