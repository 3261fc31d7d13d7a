"""An evaluation as one HTML page: figures inside, every sentence escaped."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import Environment
from markupsafe import Markup

from core.metrics.catalogue import CATALOGUE
from core.metrics.files import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito 2008: told apart by colour-blind people too.
LOOKS = {
    "samples": ("#0072b2", "o"),
    "real": ("#d55e00", "D"),
    "mle": ("#009e73", "s"),
    "ngram": ("#8a94a0", "^"),
}
NAMES = {"samples": "samples", "real": "real text", "mle": "MLE", "ngram": "n-gram model"}
SHOWN = 10
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{{ title }}</title>
<meta name="viewport" content="width=device-width">
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 84rem; color: #1c2530;
       padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #dfe4ea; }
th:first-child, td:first-child, td.words, th:last-child { text-align: left; }
td { white-space: nowrap; } td.words { white-space: normal; min-width: 14rem; }
td small { display: block; color: #6b7785; } .wide { overflow-x: auto; }
thead th { background: #f3f6f9; } td.words, p, li { color: #4a5665; }
.warning { border-left: 4px solid #d55e00; padding-left: .8rem; }
svg { width: 100%; min-width: 46rem; max-width: 60rem; height: auto; }
</style>
<h1>{{ title }}</h1>
<p>{{ samples }} sentences against {{ references }} references. Intervals are 95%, of each value's
expectation at this number of sentences; docs/howto/metrics.md says how often each covers it.</p>
{% for warning in warnings %}<p class="warning">{{ warning }}</p>{% endfor %}
<div class="wide">{{ figure }}</div>
<div class="wide"><table><thead><tr><th>metric</th><th>value</th><th>N</th><th>references</th>
{%- for name in baselines %}<th>{{ name }}</th>{% endfor %}<th>better</th><th>what it is</th></tr>
</thead><tbody>
{%- for row in rows %}
<tr>{% for cell, bounds in row[:-1] %}<td>{{ cell }}
{%- if bounds %}<small>{{ bounds }}</small>{% endif %}</td>{% endfor %}
<td class="words">{{ row[-1] }}</td></tr>
{%- endfor %}
</tbody></table></div>
<ul>{% for name, words in about %}<li><b>{{ name }}</b>: {{ words }}</li>{% endfor %}</ul>
<h2>The first sentences</h2>
<ol>{% for sentence in sentences %}<li>{{ sentence }}</li>{% endfor %}</ol>
</html>
"""


def evaluation_page(
    title: str, found: Evaluation, sentences: Sequence[Sequence[str]], references: int
) -> str:
    """The page of an evaluation against so many references."""
    baselines = {name: row for name, row in found.baselines.items() if row is not None}
    shown = {name: row for name, row in found.metrics.items() if row.value is not None}
    rows = [
        [
            (name, ""),
            (_number(row.value), _between(_bounds(found, "samples", name))),
            (f"{row.samples:,}", ""),
            (f"{row.references:,}", ""),
            *(
                (_number(baseline.get(name)), _between(_bounds(found, side, name)))
                for side, baseline in baselines.items()
            ),
            (row.direction, ""),
            CATALOGUE[name].summary,
        ]
        for name, row in shown.items()
    ]
    return (
        Environment(autoescape=True)
        .from_string(PAGE)
        .render(
            title=title,
            samples=f"{len(sentences):,}",
            references=f"{references:,}",
            warnings=found.warnings,
            figure=Markup(as_svg(evaluation_figure(found))),  # noqa: S704 - of our own making
            baselines=[NAMES[name] for name in baselines],
            rows=rows,
            about=[(NAMES[name], found.about[name]) for name in baselines],
            sentences=[" ".join(sentence) or "(no words)" for sentence in sentences[:SHOWN]],
        )
    )


def evaluation_figure(found: Evaluation) -> Figure:
    """Samples and baselines in the quality-diversity plane, and metrics with their intervals."""
    from matplotlib.figure import Figure

    sides: dict[str, Mapping[str, Any]] = {
        "samples": {name: row.value for name, row in found.metrics.items()},
        **{name: row for name, row in found.baselines.items() if row is not None},
    }
    drawing = Figure(figsize=(9.6, 3.5), layout="constrained")
    plane, distinct, told = drawing.subplots(1, 3)
    _plane(plane, found, sides)
    _orders(distinct, found, sides)
    _told_apart(told, found, sides)
    handles, labels = plane.get_legend_handles_labels()
    if handles:
        drawing.legend(handles, labels, loc="outside lower center", frameon=False, ncols=4)
    for axis in (plane, distinct, told):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    return drawing


def _plane(axis: Axes, found: Evaluation, sides: Mapping[str, Mapping[str, Any]]) -> None:
    for side, values in sides.items():
        x, y = values.get("self_bleu_4"), values.get("bleu_4")
        if x is not None and y is not None:
            colour, mark = LOOKS[side]
            axis.plot(x, y, mark, color=colour, ms=7, ls="", label=NAMES[side])
            _bars(axis, found, side, x, y)
    axis.set_xlabel("Self-BLEU-4 (lower: more diverse)")
    axis.set_ylabel("BLEU-4 (higher: closer to real)")
    axis.set_title("quality and diversity", fontsize=10)
    axis.margins(0.15)
    axis.locator_params(axis="x", nbins=4)


def _bars(axis: Axes, found: Evaluation, side: str, x: float, y: float) -> None:
    for name, across in (("self_bleu_4", True), ("bleu_4", False)):
        bounds = _bounds(found, side, name)
        if bounds is not None:
            ends = (bounds, [y, y]) if across else ([x, x], bounds)
            axis.plot(*ends, color=LOOKS[side][0], lw=1.5)


def _bounds(found: Evaluation, side: str, name: str) -> tuple[float, float] | None:
    """The interval of a metric of the samples or of a baseline."""
    if side != "samples":
        return (found.baseline_intervals.get(side) or {}).get(name)
    row = found.metrics.get(name)
    return None if row is None or row.low is None or row.high is None else (row.low, row.high)


def _between(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f"{_number(bounds[0])} to {_number(bounds[1])}"


def _orders(axis: Axes, found: Evaluation, sides: Mapping[str, Mapping[str, Any]]) -> None:
    orders = [1, 2, 3, 4]
    for side, values in sides.items():
        heights = [values.get(f"distinct_{n}") for n in orders]
        if None not in heights:
            colour, mark = LOOKS[side]
            axis.plot(orders, heights, marker=mark, color=colour, ms=5, lw=1.2)  # type: ignore[arg-type]
    axis.set_xticks(orders)
    axis.set_ylim(0, 1)
    axis.set_xlabel("n")
    axis.set_title("distinct n-grams over n-grams", fontsize=10)


def _told_apart(axis: Axes, found: Evaluation, sides: Mapping[str, Mapping[str, Any]]) -> None:
    names = {"c2st": "classifier", "nearest_neighbour": "nearest neighbour"}
    step = 0.16
    for place, name in enumerate(names):
        for k, (side, values) in enumerate(sides.items()):
            value = values.get(name)
            if value is None:
                continue
            colour, mark = LOOKS[side]
            at = place + (k - (len(sides) - 1) / 2) * step
            axis.plot(at, value, mark, color=colour, ms=6)
            bounds = _bounds(found, side, name)
            if bounds is not None:
                axis.plot([at, at], bounds, color=colour, lw=1.5)
    axis.axhline(0.5, color="#8a94a0", lw=1, ls="--")
    axis.set_xticks(range(len(names)), list(names.values()))
    axis.set_xlim(-0.6, len(names) - 0.4)
    axis.set_ylim(0.3, 1.02)
    axis.set_title("told from real text (.5: cannot)", fontsize=10)


def as_svg(figure: Figure) -> str:
    """A figure as an SVG element, without the XML head."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    text = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    return text[text.index("<svg") :]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
