"""Drawing: one style for all figures, common parts, and figures as files or inside a page.

In a page the SVG is inline and every colour is a CSS variable, so that the same drawing works in
light and dark mode and in print. Every dot of a figure is a run.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from xml.etree import ElementTree as Tree

import numpy as np
from markupsafe import Markup

from core.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe & Ito 2008: distinguishable for colour-blind readers.
BLUE, ORANGE, GREEN, PINK = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
AMBER, SKY, GREY = "#e69f00", "#56b4e9", "#8a94a0"
COLOURS = (BLUE, ORANGE, GREEN, PINK, AMBER, SKY)
LINES = ("-", "--", ":")
EVERY_RUN = 8  # runs of a row below which intervals are rough, so that each run is drawn
PAPER, INK, MUTED, LINE = "#fefefe", "#1d2630", "#66727f", "#d5dbe1"
# Colours of figures -> variables of the page's style sheet.
VARIABLES = {
    INK: "ink", MUTED: "muted", LINE: "line", PAPER: "paper", BLUE: "blue", ORANGE: "orange",
    GREEN: "green", PINK: "pink", AMBER: "amber", SKY: "sky", GREY: "grey",
}  # fmt: skip
STYLE: Any = {
    "axes.prop_cycle": f"cycler(color={COLOURS})",
    "font.size": 9.5,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.alpha": 0.25,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "legend.frameon": False,
    "svg.hashsalt": "textgan",
    "pdf.fonttype": 42,  # text stays text
}
FORMATS = ("png", "svg", "pdf")
SVG = "http://www.w3.org/2000/svg"
SIZES = {"parallel_coordinate": (9, 4.4), "slice": (5.2, 3.2)}  # inches; slice: of two panels
Maker = Callable[[], "Figure"]
Ends = tuple[float, float] | None


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one panel, in inches."""
    figure, (axis,) = panels(1, 1, 1, (width, height))
    return figure, axis


def panels(
    down: int, across: int, used: int, size: tuple[float, float], **shared: Any
) -> tuple[Figure, list[Axes]]:
    """A figure with a grid of panels, of which the first `used` are kept."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, **shared).ravel()
    for axis in grid[used:]:
        axis.remove()
    return figure, list(grid[:used])


def forest(
    labels: Sequence[str], values: Sequence[float], ends: Sequence[Ends], colours: Sequence[str]
) -> tuple[Figure, Axes]:
    """One row per label, the first on top at y = len(labels) - 1: a diamond with its interval."""
    figure, axis = canvas(8, 1.4 + 0.38 * len(labels))
    rows = list(zip(values, ends, colours, strict=True))[::-1]
    for y, (value, interval, colour) in enumerate(rows):
        if interval is not None and np.isfinite(interval).all():
            axis.plot(interval, [y, y], color=colour, lw=2.2, solid_capstyle="round")
        axis.plot(value, y, "D", color=colour, ms=6)
    axis.set_yticks(range(len(labels)), labels[::-1])
    axis.set_ylim(-0.7, len(labels) - 0.1)
    bare_rows(axis)
    return figure, axis


def bare_rows(axis: Axes) -> None:
    """Rows with labels on the left: vertical grid lines, no frame."""
    axis.grid(visible=False, axis="y")
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)


def band(axis: Axes, x: Sequence[float], found: Sequence[Interval], label: str = "") -> None:
    """A line through the values at `x`, and their intervals as a band, in the next colour; dashed
    when the colours begin again. Ends that are NaN have no band.
    """
    style = LINES[len(axis.collections) // len(COLOURS) % len(LINES)]
    (line,) = axis.plot(x, [each.value for each in found], style, lw=2, label=label)
    low, high = [each.low for each in found], [each.high for each in found]
    axis.fill_between(x, low, high, color=line.get_color(), alpha=0.1, lw=0)


def legend_beside(axis: Axes) -> None:
    """A legend right of the panel."""
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def draw(maker: Maker) -> Figure:
    """The figure, in the report's style."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        return maker()


def save(figure: Figure, folder: Path, name: str, formats: Sequence[str]) -> None:
    """A file of each format in `folder`; the same bytes for the same figure."""
    import matplotlib as mpl

    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for suffix in formats:
            dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(suffix, {})
            _write(figure, folder / f"{name}.{suffix}", suffix, dpi=160, metadata=dates)


def optuna_plot(name: str, study: Any, metric: str, **given: Any) -> Figure:
    """One of Optuna's plots in our style: it would draw in matplotlib's style `ggplot`."""
    import matplotlib as mpl
    from matplotlib import pyplot, style
    from matplotlib.category import StrCategoryFormatter
    from optuna.visualization import matplotlib as plots

    size: Any = {
        "figure.figsize": SIZES.get(name, (6.4, 4.4)),
        "figure.constrained_layout.use": True,
    }
    with patch.dict(style.library, ggplot={}), mpl.rc_context(size), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are experimental, and of few trials they complain
        found = getattr(plots, f"plot_{name}")(study, target_name=metric, **given)
    drawing: Figure = np.ravel(found)[0].figure
    for axis in (each for panel in drawing.axes for each in (panel.xaxis, panel.yaxis)):
        if axis.get_scale() == "log":
            _label_powers(axis)
        elif isinstance(axis.get_major_formatter(), StrCategoryFormatter):
            _label_choices(axis)
    pyplot.close(drawing)  # pyplot would keep it
    return drawing


def _label_choices(axis: Axis) -> None:
    """Choices without the quotes that Optuna's slices have, and at an angle, as they are long."""
    from matplotlib.axis import XAxis

    quoted = axis.get_major_formatter()
    axis.set_major_formatter(lambda x, _: quoted(x).strip("'"))
    if isinstance(axis, XAxis):
        for label in axis.get_ticklabels():
            label.set(rotation=20, ha="right", rotation_mode="anchor")


def _label_powers(axis: Axis) -> None:
    """Plain numbers at the powers of ten and, if fewer than two are in view, at 2 and 5 times."""
    low, high = sorted(axis.get_view_interval())
    few = math.floor(math.log10(high)) <= math.ceil(math.log10(low))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(lambda x, _: f"{x:g}" if few and f"{x:e}"[0] in "25" else "")


def data_of(figure: Figure) -> list[tuple[str, int, str, str, Any, Any]]:
    """What a figure shows: title of the panel (without one the name of its x axis), number of the
    mark in it, kind (line, points, bar, band), label, x, y; categories by name. A band goes along
    one of its ends and back along the other.
    """
    from matplotlib.collections import PathCollection, PolyCollection

    found = []
    for axis in figure.axes:
        title = " ".join((axis.get_title("left") or axis.get_xlabel()).split())  # it may be wrapped
        lines = [each for each in axis.lines if each.get_transform() == axis.transData]
        bands = [each for each in axis.collections if isinstance(each, PolyCollection)]
        points = [each for each in axis.collections if isinstance(each, PathCollection)]
        marks: list[tuple[str, Any, Any]] = [
            *(("line", line, line.get_xydata()) for line in lines),
            *(("points", each, each.get_offsets()) for each in points),
            # A band that has no finite values has no path.
            *(("band", band, path.vertices) for band in bands for path in band.get_paths()[:1]),
            *(("bar", bar, [_end(bar)]) for bar in axis.patches),
        ]
        for number, (kind, mark, places) in enumerate(marks, start=1):
            about = title, number, kind, re.sub("^_.*", "", mark.get_label())
            found += [(*about, _category(axis.xaxis, x), _category(axis.yaxis, y))
                      for x, y in places]  # fmt: skip
    return found


def _end(bar: Any) -> tuple[float, float]:
    """Of a horizontal bar."""
    return bar.get_x() + bar.get_width(), bar.get_y() + bar.get_height() / 2


def _category(axis: Axis, place: float) -> float | str:
    """The label of a category, else the number."""
    from matplotlib.ticker import FuncFormatter

    formatter = axis.get_major_formatter()
    return (isinstance(formatter, FuncFormatter) and formatter(round(place))) or float(place)


def inline(figure: Figure, name: str, label: str) -> Markup:
    """The figure as an `<svg>` element; `label` is for screen readers."""
    import matplotlib as mpl

    written = io.BytesIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        _write(figure, written, "svg", transparent=True, metadata={"Date": None})
    root = Tree.fromstring(written.getvalue())  # noqa: S314 - our own; drops comments
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    width = float(root.get("viewBox", "0 0 600 400").split()[2])
    root.attrib.update({"role": "img", "aria-label": label, "class": "figure",
                        "style": f"max-width: {width * 1.3:.0f}px"})  # fmt: skip
    for prefix, space in (("", SVG), ("xlink", "http://www.w3.org/1999/xlink")):
        Tree.register_namespace(prefix, space)
    return Markup(_coloured(Tree.tostring(root, encoding="unicode")))  # noqa: S704 - from a parser


def _write(figure: Figure, target: Path | io.BytesIO, suffix: str, **options: Any) -> None:
    """Save a figure. The first file decides its layout, which takes half the time of a drawing."""
    figure.savefig(target, format=suffix, **options)
    figure.set_layout_engine("none")


def _coloured(svg: str) -> str:
    def variable(match: re.Match[str]) -> str:
        name = VARIABLES.get(match[0].lower())
        return f"var(--{name})" if name else match[0]

    # A variable can be a colour in a style attribute; in `fill="..."` it cannot.
    svg = re.sub(r'\b(fill|stroke)="(#[0-9a-fA-F]{6})"', r'style="\1: \2"', svg)
    return re.sub(r"#[0-9a-fA-F]{6}\b", variable, svg)
