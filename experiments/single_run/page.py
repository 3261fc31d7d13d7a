"""What the UI's page of a run shows: the curves, and the description with ten sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from core.config import Config
from core.tracking.protocol import RunTracker
from core.tracking.rendering import code, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = Sequence[tuple[int, float]]
PANEL, HEIGHT = 4.6, 3.2  # inches, like the margins; of one panel
ACROSS = 2  # panels in a row: one row of four is too small to read on a page
LEFT, RIGHT, TOP, BOTTOM = 0.65, 0.15, 0.35, 0.5
TICKS = 6  # at most, per axis
SHOWN = 10  # sentences
EMPTY = "(no words)"
PANELS = {
    "losses": ("train/generator_loss", "train/discriminator_loss"),
    "mean difference of real and fake": ("train/mean_difference",),
    "distance from real text": ("eval/fed",),
    "diversity": ("eval/unique", "eval/distinct_2"),
}


def curves_figure(panels: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """One panel per title, one line per label, over updates.

    Every run draws this figure, so its margins are fixed: fitting them takes longer than the rest.
    """
    from matplotlib.figure import Figure

    columns = min(ACROSS, len(panels))
    rows = -(-len(panels) // columns)
    width, height = PANEL * columns, HEIGHT * rows
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(rows, columns, squeeze=False).flat
    figure.subplots_adjust(
        left=LEFT / width,
        right=1 - RIGHT / width,
        bottom=BOTTOM / height,
        top=1 - TOP / height,
        wspace=(LEFT + RIGHT) / (PANEL - LEFT - RIGHT),
        hspace=(TOP + BOTTOM) / (HEIGHT - TOP - BOTTOM),
    )
    for axis in list(axes)[len(panels) :]:
        axis.remove()
    for axis, (title, lines) in zip(figure.axes, panels.items(), strict=True):
        for label, curve in lines.items():
            alone = "o" if len(curve) == 1 else ""  # one point has no line
            steps, values = [step for step, _ in curve], [value for _, value in curve]
            axis.plot(steps, values, marker=alone, label=label)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("updates")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
        axis.locator_params(nbins=TICKS)
        axis.locator_params("x", integer=True)
        if len(lines) > 1:
            axis.legend(frameon=False, fontsize=8)
    return figure


def log_curves(record: RunTracker) -> None:
    """Log the figure of a run's curves; none before its first point."""
    found = {
        title: {key.partition("/")[2]: curve for key in keys if (curve := record.history(key))}
        for title, keys in PANELS.items()
    }
    panels = {title: lines for title, lines in found.items() if lines}
    if panels:
        record.log_figure(curves_figure(panels), "figures/curves.png")


def description(
    config: Config, run_id: str, ending: str, samples: Sequence[tuple[int, int, str]]
) -> str:
    """The description of a run as Markdown; `samples` are (update, latent, sentence), of which the
    newest are shown, as code, so that nothing in them is rendered as markup.
    """
    newest = max((step for step, _, _ in samples), default=0)
    lines = [f"1. {_span(text)}" for step, _, text in samples if step == newest][:SHOWN]
    source, fork = _span(config.corpus.source), config.fork
    came = f" Forked from run {_span(fork.run)} at update {fork.at}." if fork else ""
    return (
        f"**{plain(config.name)}**, seed {config.seed}, on {source}: {ending}.{came}\n\n"
        f"Repeat it: `textgan reproduce {run_id[:8]}`. Change settings: save the artifact "
        f"`config.toml`, then `textgan run config.toml --set ...`. More sentences: "
        f"`textgan sample {run_id[:8]}`. Sentences during training: artifact `samples.html`.\n\n"
        + "\n".join([*lines, ""])
    )


def _span(text: str) -> str:
    return code(text.strip() or EMPTY)
