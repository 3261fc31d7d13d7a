"""What the UI's page of a run shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.tracking.memory import MemoryTracker
from experiments.single_run import page, session
from experiments.single_run.run import run
from tests.conftest import tiny


def test_a_run_draws_its_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def watched(panels):  # type: ignore[no-untyped-def]
        drawn.append({title: set(lines) for title, lines in panels.items()})
        return curves_figure(panels)

    curves_figure = page.curves_figure
    monkeypatch.setattr(page, "curves_figure", watched)
    monkeypatch.setattr(session, "log_curves", page.log_curves)
    tracker = MemoryTracker(tmp_path)
    enough = "corpus.sentences=600", "evaluation.sentences=40", "evaluation.references=40"
    result = run(tiny(*enough), tracker=tracker)  # for a value of fed
    assert drawn == [{
        "losses": {"generator_loss", "discriminator_loss"},
        "mean difference of real and fake": {"mean_difference"},
        "distance from real text": {"fed"},
        "diversity": {"unique", "distinct_2"},
    }]  # fmt: skip
    assert tracker.artifact(result.run_id, "figures/curves.png").stat().st_size > 10_000


def test_a_curve_of_one_point_is_visible() -> None:
    figure = page.curves_figure({"losses": {"one": [(10, 1.0)], "two": [(0, 1.0), (10, 2.0)]}})
    assert [line.get_marker() for line in figure.axes[0].lines] == ["o", ""]
