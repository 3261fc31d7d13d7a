"""Optuna's plots in the report of a search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib import pyplot

from core.config import Config
from studies.figures import data_of, draw, save
from studies.report import build, read, sections
from tests.studies.test_search import Landscape, go, plan

PLOTS = {"optimization_history", "parallel_coordinate", "slice", "contour", "rank"}


class Slots(Landscape):
    """`straight_through` is better than everything else."""

    def __call__(self, config: Config | None, **given: Any) -> Any:
        assert config is not None
        self.noise = 5.0 if config.flat()["sampling.name"] == "straight_through" else 0.0
        return super().__call__(config, **given)


@pytest.mark.slow
def test_optunas_plots_show_numbers_and_choices(tmp_path: Path) -> None:
    space = ("{'train.generator_lr'=true, 'schedule.n_d'=true, "
             "'sampling'={choices=['gumbel_softmax', 'straight_through']}}")  # fmt: skip
    study = plan(f"study.space={space}", "study.trials=16", "study.pruner='none'",
                 "study.sampler='random'", "study.seeds=1")  # fmt: skip
    tracker, _ = go(tmp_path, study, Slots())
    report = build(read(tracker, "search_smoke"))
    (importance,) = (each for each in report.sections if each.key == "importance")
    shares = {setting: int(share.rstrip("%")) for _, setting, share in importance.rows}
    assert shares["sampling"] > 5, "a choice is a setting like others"
    drawn = report.figures["trials"]
    assert set(drawn) == PLOTS
    for name, figure in drawn.items():
        save(figure, tmp_path / "figures", name, ("png", "svg"))
        marks = [mark for axis in figure.axes for mark in (*axis.lines, *axis.collections)]
        assert marks, name
        axes = [axis for panel in figure.axes for axis in (panel.xaxis, panel.yaxis)]
        texts = [label.get_text() for axis in axes for label in axis.get_ticklabels(which="both")]
        assert not any("$" in text for text in texts), f"{name}: a number as its formula"
        assert not any("'" in text for text in texts), f"{name}: a choice in quotes"
        data = data_of(figure)
        assert bool(data) == (name != "parallel_coordinate")
        if name == "slice":
            choices = {row[4] for row in data if row[0] == "sampling"}
            assert choices == {"gumbel_softmax", "straight_through"}
    assert pyplot.get_fignums() == []
    assert not any("race" in word for word in report.sections[3].explanation.split())


@pytest.mark.parametrize(
    ("space", "trials", "plots"),
    [
        ("{'train.generator_lr'=true, 'penalty.weight'=true}", 1, set()),
        ("{'train.generator_lr'=true, 'penalty.weight'=true}", 2, PLOTS),
        ("{'train.generator_lr'=true}", 3, PLOTS - {"contour", "rank"}),
    ],
)
def test_a_search_of_few_trials_or_of_one_setting_has_the_plots_that_it_can(
    space: str, trials: int, plots: set[str], tmp_path: Path
) -> None:
    study = plan(f"study.space={space}", f"study.trials={trials}", "study.pruner='none'",
                 "study.seeds=1")  # fmt: skip
    tracker, _ = go(tmp_path, study, Landscape())
    found = {section.key: section for section in sections(read(tracker, "search_smoke"))}
    assert len(found["trials"].rows) == trials
    assert set(found["trials"].figures) == plots
    if trials == 3:
        assert draw(found["trials"].figures["slice"]).axes
