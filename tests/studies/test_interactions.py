"""Interactions: the value by hand, chance by simulation, what is said, and where there are none."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from studies.analysis.contrasts import interactions
from studies.analysis.effects import interaction_section, interactions_figure
from studies.leaderboard import Leaderboard, Row

Score = Callable[[str, str, str, int], float]


def board_of(score: Score, seeds: int, leave_out: int = 0) -> Leaderboard:
    """Axes x, model.y and z of two levels each."""
    made = []
    for x, y, z in itertools.product(("x0", "x1"), ("y=0", "y=1"), ("z0", "z1")):
        scores = {seed: score(x, y, z, seed) for seed in range(seeds)}
        cell = {"x": x, "model.y": y, "z": z}
        made.append(Row(" · ".join(cell.values()), 0, None, seeds, scores, {}, cell, "", {}))
    return Leaderboard("s", "eval/m", True, "p", tuple(made[leave_out:]), 8 * seeds, 0)


def together(x: str, y: str, z: str, seed: int) -> float:
    """x1 brings 1, and 2 more with y=1; z brings 5 whatever else."""
    return (x == "x1") * (1.0 + 2.0 * (y == "y=1")) + 5.0 * (z == "z1") + 0.01 * seed


def test_the_interaction_that_was_put_in_is_found() -> None:
    found = {each.axes: each for each in interactions(board_of(together, 3))}
    assert len(found) == 3
    both = found["model.y", "x"]
    assert (both.of, both.at) == (("y=0", "y=1"), ("x0", "x1"))
    # y=0 minus y=1 is 0 at x0 and -2 at x1.
    assert both.difference.value == pytest.approx(2.0)
    assert both.difference.low == pytest.approx(both.difference.high) == pytest.approx(2.0)
    assert found["model.y", "z"].difference.value == found["x", "z"].difference.value == 0


def test_one_run_each_says_nothing_of_interactions() -> None:
    assert interactions(board_of(together, 1)) == []


def test_it_is_said_with_the_larger_side_first() -> None:
    (section,) = interaction_section(SimpleNamespace(board=board_of(together, 4)))  # type: ignore[arg-type]
    assert section.findings == [
        "**model.y and x**: `0` minus `1` is larger by 2 [2, 2] with `x0` than with `x1`."
    ]
    turned = board_of(lambda x, y, z, seed: -together(x, y, z, seed), 4)
    (section,) = interaction_section(SimpleNamespace(board=turned))  # type: ignore[arg-type]
    assert "by 2 [2, 2] with `x1` than with `x0`" in section.findings[0]
    assert [len(row) for row in section.rows] == [6, 6, 6]


@pytest.mark.slow
def test_without_one_chance_is_not_mistaken_for_it() -> None:
    draws = np.random.default_rng(0)
    false = 0
    for _ in range(120):
        board = board_of(lambda x, y, z, seed: (x == "x1") + draws.normal(), 5)
        false += sum(each.difference.p < 0.05 for each in interactions(board))
    assert 0.015 < false / 360 < 0.09


def test_where_every_cell_varies_alike_none_is_said_to_interact() -> None:
    board = board_of(lambda x, y, z, seed: (x == "x1") + (z == "z1") + 0.1 * seed, 5)
    (section,) = interaction_section(SimpleNamespace(board=board))  # type: ignore[arg-type]
    assert section.findings == [
        "No interaction is significant (3 interactions, Holm's adjustment)."
    ]


def test_a_missing_cell_is_left_out_of_what_needs_it() -> None:
    (x_and_y,) = [e for e in interactions(board_of(together, 3, 1)) if e.axes == ("model.y", "x")]
    assert x_and_y.difference.pairs == 3, "z1 alone has all four cells"
    assert x_and_y.difference.value == pytest.approx(2.0)
    one_axis = Leaderboard("s", "eval/m", True, "p", board_of(together, 3).rows[:1], 3, 0)
    assert not [*interaction_section(SimpleNamespace(board=one_axis))]  # type: ignore[arg-type]


def test_a_panel_for_every_two_axes_and_a_line_for_every_level() -> None:
    figure = interactions_figure(board_of(together, 3))
    assert len(figure.axes) == 3
    for panel in figure.axes:
        assert len([line for line in panel.lines if line.get_marker() == "o"]) == 2
    assert {panel.get_xlabel() for panel in figure.axes} == {"model.y", "x"}
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["0", "1"]
