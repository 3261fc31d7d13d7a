"""Designs: which cells are run, and that main effects can be told from them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from core.errors import InputError
from studies.analysis.contrasts import main_effect
from studies.kinds.ablation import design, model_matrix
from studies.leaderboard import Row

LEVELS = (3, 2, 2)


def test_one_factor_and_reversion_differ_from_their_centre_in_one_place() -> None:
    one = design("one_factor", LEVELS, None, (0, 0, 0)).cells
    assert one == ((0, 0, 0), (1, 0, 0), (2, 0, 0), (0, 1, 0), (0, 0, 1))
    back = design("reversion", LEVELS, None, (2, 0, 1)).cells
    assert back == ((2, 0, 1), (0, 0, 1), (2, 0, 0))
    assert len(design("full", LEVELS, None, (0, 0, 0)).cells) == 12


@pytest.mark.parametrize(("levels", "count"), [(LEVELS, 6), ((2,) * 5, 8), ((4, 3, 2), 9)])
def test_a_fraction_tells_every_main_effect(levels: tuple[int, ...], count: int) -> None:
    found = design("fractional", levels, count, (0,) * len(levels))
    assert len(set(found.cells)) == count
    X = model_matrix(found.cells, levels)
    assert np.linalg.matrix_rank(X) == X.shape[1]
    assert design("fractional", levels, count, ()).cells == found.cells
    if levels == (2,) * 5:  # the regular quarter is orthogonal, and found
        assert np.allclose(X.T @ X, count * np.eye(6))
        assert "100%" in found.words


def test_too_few_cells_are_refused() -> None:
    with pytest.raises(InputError, match="at least 5 cells"):
        design("fractional", LEVELS, 4, ())
    with pytest.raises(InputError, match="all of them are 12"):
        design("fractional", LEVELS, 12, ())
    with pytest.raises(InputError, match="at most"):
        design("full", (100, 100, 100), None, ())


def rows(cells: list[dict[str, str]], effect: dict[str, float], noise: float) -> list[Row]:
    draws = np.random.default_rng(1)
    made = []
    for cell in cells:
        base = sum(effect.get(f"{axis}={label}", 0.0) for axis, label in cell.items())
        scores = {seed: base + seed + noise * draws.normal() for seed in range(3)}
        made.append(Row(" ".join(cell.values()), 0, (0, 0), 3, scores, {}, cell, "", {}))
    return made


def test_main_effects_of_a_fraction_are_the_ones_put_in() -> None:
    cells = design("fractional", (2, 2, 2), 4, ()).cells
    named = [{"a": f"a{i}", "b": f"b{j}", "c": f"c{k}"} for i, j, k in cells]
    found = main_effect(
        rows(named, {"a=a1": 2.0, "b=b1": -1.0}, 0.01), "a", "a1", "a0", blocked=True
    )
    assert found is not None
    assert found.low < 2.0 < found.high
    assert found.high - found.low < 0.1
    assert found.p < 1e-6
    nothing = main_effect(rows(named, {}, 1.0), "c", "c1", "c0", blocked=True)
    assert nothing is not None
    assert nothing.low < 0 < nothing.high


def test_coverage_of_main_effects() -> None:
    draws = np.random.default_rng(2)
    cells = [{"a": a, "b": b} for a, b in itertools.product(("x", "y"), repeat=2)][:3]
    inside = []
    for _ in range(300):
        made = [
            Row("", 0, (0, 0), 3, {s: float(draws.normal()) for s in range(3)}, {}, cell, "", {})
            for cell in cells
        ]
        found = main_effect(made, "a", "y", "x", blocked=False)
        assert found is not None
        inside.append(found.low <= 0 <= found.high)
    assert 0.92 <= np.mean(inside) <= 0.98


def test_what_cannot_be_told_is_not_told() -> None:
    together = [{"a": "a0", "b": "b0"}, {"a": "a1", "b": "b1"}]
    assert main_effect(rows(together, {}, 1.0), "a", "a1", "a0", blocked=True) is None
