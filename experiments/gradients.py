"""`textgan variants gradients`: gradient estimators compared with exact gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import MachineError
from experiments.console import print_json, progress, stderr, stdout, table
from studies.figures import BLUE, GREY, ORANGE, bare_rows, draw, panels, save
from variants import registry
from variants.laboratory.measure import CONFIDENCE, SETUPS, Row, measure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ["estimator", "its target", "bias", "scale", "angle", "variance", "signal/noise", "z"]
FIGURE = "gradients"


def show(draws: int, steps: int, output: Path | None, json: bool) -> None:
    """Measure every estimator; print the table, and write the figure to `output`."""
    import torch

    torch.set_num_threads(1)
    rows = []
    with progress("gradients", stays=False) as advance:
        for number, setup in enumerate(SETUPS):
            advance(number, len(SETUPS), setup.label)
            rows.append(measure(registry(), setup, steps=steps, draws=draws))
    if output is not None:
        try:
            save(draw(lambda: gradients_figure(rows, steps)), output, FIGURE, ["png"])
        except OSError as error:
            raise MachineError(f"{output}: cannot be written ({error.strerror})") from None
        stderr.print(f"figure: {output / FIGURE}.png")
    if json:
        print_json([{**asdict(row), "agrees": row.agrees} for row in rows])
        return
    stdout.print(table(COLUMNS, [_cells(row) for row in rows]))
    stdout.print(
        f"\n{draws:,} batches of 4 sentences of {steps} of 3 words. Against the exact gradient g\n"
        f"of the expected reward: bias |target - g| / |g|, scale |target| / |g|, angle\n"
        f"in degrees, variance of a batch / |g|^2. z: largest standardised distance of the mean\n"
        f"from its own exact target; ! beyond its bound at {CONFIDENCE:.1%}.",
        soft_wrap=True,
    )


def _cells(row: Row) -> list[str]:
    numbers = (row.bias, row.scale, row.angle, row.variance, row.signal_to_noise)
    shown = [f"{number:.2f}" for number in numbers]
    return [row.label, row.target, *shown, f"{row.z:.1f}{'' if row.agrees else ' !'}"]


def gradients_figure(rows: Sequence[Row], steps: int) -> Figure:
    """Direction, signal-to-noise and agreement with the stated target, a line an estimator."""
    figure, axes = panels(1, 3, 3, (10.5, 1.3 + 0.3 * len(rows)), sharey=True)
    places = list(range(len(rows)))[::-1]
    unbiased = [row.angle < 1e-3 for row in rows]
    colours = [BLUE if true else ORANGE for true in unbiased]
    finite = [min(row.signal_to_noise, 1e3) for row in rows]
    most = max((value for value in finite if value < 1e3), default=1.0)
    shown = [min(value, 1.15 * most) for value in finite]
    titles = (
        "degrees from the gradient of\nthe expected reward (exact)",
        "signal-to-noise of a batch of 4",
        "distance of the mean from its own\nexact target, standardised",
    )
    values = ([row.angle for row in rows], shown, [row.z for row in rows])
    for axis, title, numbers in zip(axes, titles, values, strict=True):
        axis.hlines(places, 0, numbers, color=colours, lw=2)
        axis.scatter(numbers, places, c=colours, s=28, zorder=3)
        axis.set_title(title)
        axis.set_xlim(-0.02 * max(numbers), 1.08 * max(numbers))
        bare_rows(axis)
    for value, place, number in zip(finite, places, shown, strict=True):
        if value >= 1e3:
            axes[1].annotate("no noise ", (number, place), ha="right", va="bottom", fontsize=8)
    axes[2].set_xlim(right=1.08 * rows[0].bound)
    axes[2].axvline(rows[0].bound, color=GREY, ls="--", lw=1)
    axes[2].annotate(f" bound at {CONFIDENCE:.1%}", (rows[0].bound, places[0] + 0.4), fontsize=8,
                       color=GREY, ha="right", rotation=0)  # fmt: skip
    axes[0].set_yticks(places, [row.label for row in rows])
    figure.suptitle(
        f"Gradient estimators on 3 words, {steps} steps, {rows[0].draws:,} batches "
        "(blue: its direction is unbiased)",
        fontsize=11,
    )
    return figure
