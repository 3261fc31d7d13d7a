"""Figures as files for a paper, and as a part of a page that knows light and dark.

A figure's maker runs under one style. On the page its SVG stands inline with every colour a CSS
variable, so that the same drawing reads on white, on black and on paper.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as Tree

from markupsafe import Markup

from studies.figures import PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, LINE = "#1d2630", "#66727f", "#d5dbe1"
STYLE: Any = {
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
    "grid.color": LINE,
    "grid.alpha": 1.0,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "legend.frameon": False,
    "svg.hashsalt": "textgan",
    "pdf.fonttype": 42,  # text stays text
}
# Colours of figures -> variables of the page's style sheet.
VARIABLES = {
    INK: "ink", MUTED: "muted", LINE: "line", PAPER: "paper",
    "#0072b2": "blue", "#d55e00": "orange", "#009e73": "green", "#cc79a7": "pink",
    "#e69f00": "amber", "#56b4e9": "sky", "#8a94a0": "grey",
}  # fmt: skip
FORMATS = ("png", "svg", "pdf")
SVG = "http://www.w3.org/2000/svg"
Maker = Callable[[], "Figure"]


def draw(maker: Maker) -> Figure:
    """The figure, in the report's style."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        return maker()


def save(figure: Figure, folder: Path, name: str, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Files below `folder`, PNG, SVG and PDF; the same bytes for the same figure."""
    import matplotlib as mpl

    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.{suffix}" for suffix in formats]
    with mpl.rc_context(STYLE):
        for file in files:
            dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(file.suffix[1:], {})
            figure.savefig(file, dpi=160, metadata=dates)
    return files


def inline(figure: Figure, name: str, label: str) -> Markup:
    """The figure as an `<svg>` element; `label` is what a screen reader says of it."""
    import matplotlib as mpl

    written = io.BytesIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    root = Tree.fromstring(written.getvalue())  # noqa: S314 - ours; and comments stay behind
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    root.set("role", "img")
    root.set("aria-label", label)
    root.set("class", "figure")
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    width = float(root.get("viewBox", "0 0 600 400").split()[2])
    root.set("style", f"max-width: {width * 1.3:.0f}px")
    for prefix, space in (("", SVG), ("xlink", "http://www.w3.org/1999/xlink")):
        Tree.register_namespace(prefix, space)
    return Markup(_coloured(Tree.tostring(root, encoding="unicode")))  # noqa: S704 - from a parser


def _coloured(svg: str) -> str:
    def variable(match: re.Match[str]) -> str:
        name = VARIABLES.get(match[0].lower())
        return f"var(--{name})" if name else match[0]

    # In a style attribute a variable may stand for a colour; in `fill="..."` it may not.
    svg = re.sub(r'\b(fill|stroke)="(#[0-9a-fA-F]{6})"', r'style="\1: \2"', svg)
    return re.sub(r"#[0-9a-fA-F]{6}\b", variable, svg)
