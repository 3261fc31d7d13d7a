"""The page of the metric laboratory, from `results/metrics.json` (see `benchmarks/metrics.py`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from core.metrics.catalogue import CATALOGUE
from core.metrics.faults import FAULTS
from core.metrics.laboratory import DOSES, LEVEL, POWER, Seen, Sheet, Table, TextTable, drift
from core.plural import count
from studies.analysis.laboratory import Smallest, fault_name
from studies.figures import LINE, PAPER, panels
from studies.sections import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORSE = {"higher": "falls", "lower": "rises"}
SHOWN = (0.1, 1.0)  # doses whose divergence the page has
UNSEEN = 1.0  # in a figure, above the logarithm of any dose
Cells = list[list[str]]


def read_table(file: Path) -> Table:
    """The stored measurements."""
    return TypeAdapter(Table).validate_json(file.read_bytes())


def smallest(table: Table) -> Smallest:
    """What SMALLEST holds; without what changes nothing in a text."""
    return {
        text: {
            str(n): {
                metric: {
                    fault: seen[metric].smallest
                    for fault, seen in sheet.faults.items()
                    if metric in seen and found.planted[fault][0] != 0
                }
                for metric in sheet.real
            }
            for n, sheet in found.sheets.items()
        }
        for text, found in table.items()
    }


def page(table: Table) -> dict[str, Any]:
    """What the template of the page shows."""
    texts = [
        {
            "about": found.about,
            "bits": _exact(found),
            "faults": _fault_rows(found),
            "metrics": _metric_rows(found),
            "sizes": sorted(found.sheets),
            "sheets": [
                (n, _columns(found.sheets[n]), _rows(found.sheets[n])) for n in sorted(found.sheets)
            ],
        }
        for found in table.values()
    ]
    return {"texts": texts, "doses": [*map(number, SHOWN)], "level": LEVEL, "power": number(POWER)}


def _exact(found: TextTable) -> bool:
    return any(bits[0] is not None for bits in found.planted.values())


def _fault_rows(found: TextTable) -> Cells:
    """Name, what it is, and, if any is known, the divergence in bits of each dose in SHOWN."""
    exact = _exact(found)
    rows = []
    for fault, bits in found.planted.items():
        known = [bits[DOSES.index(dose)] for dose in SHOWN]
        shown = ["" if each is None else f"{each:.3f}" for each in known] if exact else []
        rows.append([fault_name(fault), FAULTS[fault].summary, *shown])
    return rows


def _metric_rows(found: TextTable) -> Cells:
    """Name, value of real text and false alarms at each number of sentences, drift."""
    rows = []
    for metric in CATALOGUE:
        nulls = [found.sheets[n].real.get(metric) for n in sorted(found.sheets)]
        if not any(nulls):
            continue
        cells = [
            cell
            for null in nulls
            for cell in (
                [f"{null.mean:.4g}", f"{null.sd:.2g}", f"{null.false_alarms:.0%}"]
                if null
                else [""] * 3
            )
        ]
        shift = drift(found, metric)
        rows.append([metric, *cells, "" if shift is None else f"{shift:+.1f}"])
    return rows


def _columns(sheet: Sheet) -> list[str]:
    return ["metric", *map(fault_name, sheet.faults)]


def _rows(sheet: Sheet) -> Cells:
    """The smallest dose of each fault that each metric sees."""
    return [
        [metric, *(_cell(metric, seen.get(metric)) for seen in sheet.faults.values())]
        for metric in CATALOGUE
        if metric in sheet.real
    ]


def _cell(metric: str, seen: Seen | None) -> str:
    if seen is None:
        return ""
    worse = WORSE.get(CATALOGUE[metric].direction, seen.trend)
    better = seen.trend in ("rises", "falls") and seen.trend != worse
    mark = " +" if better else " ~" if seen.trend == "mixed" else ""
    if seen.smallest is None:
        return f"–{mark}"
    return ("≤ " if seen.smallest == DOSES[-1] else "") + number(seen.smallest) + mark


def smallest_figure(table: Table) -> Figure:
    """A heat map for each text: rows are metrics, each at the fewest sentences that it was measured
    with, columns faults.
    """
    import matplotlib as mpl
    import numpy as np

    sheets = [[found.sheets[n] for n in sorted(found.sheets)] for found in table.values()]
    rows = [
        metric for metric in CATALOGUE if any(metric in s.real for text in sheets for s in text)
    ]
    size = (3.2 + 4.2 * len(table), 1.8 + 0.24 * len(rows))
    figure, axes = panels(1, len(table), len(table), size, sharey=True)
    colours = mpl.colormaps["viridis"].with_extremes(bad=LINE, over=PAPER)
    for axis, found, text in zip(axes, table.values(), sheets, strict=True):
        logs = np.full((len(rows), len(found.planted)), np.nan)
        for row, metric in enumerate(rows):
            sheet = next((sheet for sheet in text if metric in sheet.real), Sheet())
            for column, fault in enumerate(found.planted):
                if metric in sheet.faults.get(fault, ()):
                    dose = sheet.faults[fault][metric].smallest
                    logs[row, column] = UNSEEN if dose is None else np.log10(dose)
        axis.imshow(logs, cmap=colours, vmin=-3, vmax=0, aspect="auto")
        faults = [*map(fault_name, found.planted)]
        axis.set_xticks(range(len(faults)), faults, rotation=60, ha="right")
        axis.set_yticks(range(len(rows)), rows)
        axis.grid(visible=False)
        axis.set_title(f"{found.about}\n{count(min(found.sheets), 'sentence')}", fontsize=9)
        axis.tick_params(labelsize=8, length=0)
    bar = figure.colorbar(axes[0].images[0], ax=axes, ticks=[-3, -2, -1, 0], shrink=0.5)
    bar.ax.set_yticklabels(["≤ .001", ".01", ".1", "1"])
    bar.set_label("smallest dose seen; white: none; grey: not measured", fontsize=8)
    return figure
