"""Main effects of axes by least squares, for designs in which no two cells differ in one axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from core.statistics import Difference
from studies.leaderboard import Row

UPPER = 0.975


def main_effect(
    rows: Sequence[Row], axis: str, level: str, reference: str, *, blocked: bool
) -> Difference | None:
    """`level` minus `reference` of an axis in the linear model of all axes' main effects.

    Runs are the observations; with `blocked` each seed has a level of its own. Student's interval
    and p; interactions are part of the residual. None where the model leaves no freedom, or the
    design cannot tell this contrast.
    """
    runs = [(row, seed, score) for row in rows for seed, score in row.scores.items()]
    columns = [np.ones(len(runs))]
    weights = [0.0]
    for name in sorted({key for row in rows for key in row.cell}):
        for each in sorted({row.cell[name] for row in rows})[1:]:
            columns.append(np.array([float(row.cell[name] == each) for row, _, _ in runs]))
            weights.append(float(name == axis) * ((each == level) - float(each == reference)))
    for seed in sorted({seed for _, seed, _ in runs})[1:] if blocked else ():
        columns.append(np.array([float(s == seed) for _, s, _ in runs]))
        weights.append(0.0)
    X, y, c = np.stack(columns, axis=1), np.array([run[2] for run in runs]), np.array(weights)
    estimates, _, rank, _ = np.linalg.lstsq(X, y)
    freedom = len(y) - int(rank)
    told = np.allclose(np.linalg.pinv(X) @ (X @ c), c)  # c lies in what the design can tell
    if freedom < 1 or not told or not c.any():
        return None
    value = float(c @ estimates)
    residual = float(np.square(y - X @ estimates).sum()) / freedom
    error = float(np.sqrt(residual * (c @ np.linalg.pinv(X.T @ X) @ c)))
    reach = float(stats.t.ppf(UPPER, freedom)) * error
    p = float(2 * stats.t.sf(abs(value) / error, freedom)) if error > 0 else float(value == 0)
    return Difference(value, value - reach, value + reach, p, len(runs), blocked)
