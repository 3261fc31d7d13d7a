"""Sweeps over temperature in results: who is ahead over seeds, on the page once, and bad files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import InputError
from docs import results
from docs.results import read_sweeps, sweep_section
from studies.analysis.plane import (
    Point,
    Sweep,
    area,
    sweep_figure,
)
from studies.report import Report
from studies.sections import Section


def swept(points: Sequence[tuple[float, float]]) -> Sweep:
    made = tuple(
        Point(0.5 + at, quality, diversity, (quality - 0.01, quality + 0.01), None, 100)
        for at, (diversity, quality) in enumerate(points)
    )
    real = Point(None, 0.5, 0.8, None, None, 100)
    return Sweep("softmax temperature", made, {"real": real}, area(points), 100)


def six(gap: float) -> dict[str, Sweep]:
    """Three seeds of two variants, `good` ahead of `bad` by `gap` in quality."""
    found = {}
    for seed in range(3):
        for name, ahead in (("bad", 0.0), ("good", gap)):
            curve = [(0.4, 0.5 + ahead), (0.7, 0.3 + ahead + seed / 1000)]
            found[f"{name} · seed {seed} (0{seed})"] = swept(curve)
    return found


def test_a_variant_is_ahead_over_its_seeds() -> None:
    section = sweep_section(six(0.2))
    assert [row[0] for row in section.rows] == ["bad", "good"]
    assert {row[3] for row in section.rows} == {"3"}
    assert section.findings[0].startswith("Area over temperature: `good` beats `bad`")
    alike = sweep_section(six(0.0))
    assert "No significant difference" in alike.findings[0] or "same score" in alike.findings[0]


def test_one_seed_claims_nothing() -> None:
    one = {name: found for name, found in six(0.2).items() if "seed 0" in name}
    section = sweep_section(one)
    assert {row[2] for row in section.rows} == {"one run"}
    assert "variation by chance is unknown" in section.findings[0]


def test_a_variant_has_one_colour_and_one_line_of_the_legend() -> None:
    figure = sweep_figure(six(0.1))
    (axis,) = figure.axes
    curves = [line for line in axis.lines if line.get_marker() == "o"]
    assert len({line.get_color() for line in curves}) == 2
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [label.partition(",")[0] for label in labels] == ["bad", "good", "real text"]


def test_the_sweeps_of_a_file_join_the_report_before_its_last_section(tmp_path: Path) -> None:
    file = tmp_path / "plane.json"
    file.write_text(json.dumps({name: one.document() for name, one in six(0.2).items()}))
    assert read_sweeps(file) == six(0.2)
    sections = [Section("leaderboard"), Section("again")]
    report = Report("plane", "?", {}, ["a"], ["a"], sections)
    joined = results.with_sweeps(report, sweep_section(six(0.2)))
    assert [each.key for each in joined.sections] == ["leaderboard", "temperature", "again"]
    assert joined.findings[0] == "a"
    assert joined.headline == joined.findings[:2]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": {"points": []}}'])
def test_what_holds_no_sweeps_is_refused_in_words(tmp_path: Path, text: str) -> None:
    file = tmp_path / "plane.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"plane\.json: no sweeps"):
        read_sweeps(file)


def test_the_area_counts_what_some_point_dominates() -> None:
    both = swept([(0.5, 0.5), (1.0, 0.25)])
    assert both.area == pytest.approx(0.5 * 0.25 + 0.25)


def test_bounds_have_columns_and_a_panel_of_their_own() -> None:
    without = six(0.2)
    assert "lowest jsd_bound" not in sweep_section(without).columns
    assert len(sweep_figure(without).axes) == 1
    judged = {}
    for seed, (name, one) in enumerate(sorted(without.items())):
        bounds = zip(one.points, (0.3, 0.1 + seed / 10), strict=True)
        points = [replace(point, bound=at, bound_interval=(at, at)) for point, at in bounds]
        judged[name] = replace(one, points=tuple(points))
    section = sweep_section(judged)
    at = section.columns.index("lowest jsd_bound")
    assert [row[at : at + 2] for row in section.rows] == [["0.2000", "1.5"], ["0.3000", "0.5"]]
    plane, bounds = sweep_figure(judged).axes
    assert bounds.yaxis_inverted()
    assert not plane.yaxis_inverted()
