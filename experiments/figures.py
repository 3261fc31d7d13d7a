"""Figures of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from core.tracking.protocol import RunTracker

Curve = Sequence[tuple[int, float]]
PANEL, HEIGHT = 4.2, 3.2  # inches; so are the margins
LEFT, RIGHT, TOP, BOTTOM = 0.65, 0.15, 0.35, 0.5
TICKS = 6  # at most, of an axis


def curves_figure(panels: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """One panel a title, one line a label, over updates.

    Every run draws one, so margins are fixed: looking for the best ones takes longer than the rest.
    """
    from matplotlib.figure import Figure

    width = PANEL * len(panels)
    figure = Figure(figsize=(width, HEIGHT))
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    figure.subplots_adjust(
        left=LEFT / width,
        right=1 - RIGHT / width,
        bottom=BOTTOM / HEIGHT,
        top=1 - TOP / HEIGHT,
        wspace=(LEFT + RIGHT) / (PANEL - LEFT - RIGHT),
    )
    for axis, (title, lines) in zip(axes, panels.items(), strict=True):
        for label, curve in lines.items():
            axis.plot([step for step, _ in curve], [value for _, value in curve], label=label)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("updates")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
        axis.locator_params(nbins=TICKS)
        if len(lines) > 1:
            axis.legend(frameon=False, fontsize=8)
    return figure


def log_curves(record: RunTracker) -> None:
    """The curves that say how a run went, of what its record holds."""

    def curves(*keys: str) -> dict[str, list[tuple[int, float]]]:
        found = {key: record.history(key) for key in keys}
        return {key.partition("/")[2]: curve for key, curve in found.items() if curve}

    panels = {
        "losses": curves("train/generator_loss", "train/discriminator_loss"),
        "mean difference of real and fake": curves("train/mean_difference"),
        "overlap with real text": curves("eval/ms_jaccard_2", "eval/ms_jaccard_3"),
        "diversity": curves("eval/unique", "eval/distinct_2"),
    }
    drawn = {title: lines for title, lines in panels.items() if lines}
    if drawn:  # a run may end before its first point
        record.log_figure(curves_figure(drawn), "figures/curves.png")
