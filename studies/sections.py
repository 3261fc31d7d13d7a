"""A study as the store has it, and a section of its report with its numbers and sentences.

A section needs nothing else to become a part of a page (HTML, Markdown, a terminal), whatever the
kind of study.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from core.errors import InputError
from core.plural import count
from core.statistics import Difference
from core.tracking.protocol import RunRecord, Tracker
from core.tracking.rendering import at_update
from studies.leaderboard import Leaderboard, Row, seed_runs
from studies.table import StudyTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXTS: Mapping[str, Mapping[str, str]] = tomllib.loads(
    (Path(__file__).parent / "templates" / "sections.toml").read_text(encoding="utf-8")
)
SAMPLES = "samples.json"  # artifact of a run
LONG = 40  # characters of a cell that is wrapped in LaTeX
LINE = 90  # characters of a line of LaTeX's `footnotesize`
GAP = 0.04  # between two columns, of the line
# pandas leaves these as they are; in LaTeX's first font they are other characters.
SIGNS = {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
_NUMBER = r"(< )?[-+]?\.?\d[\d.,]*(e[-+]\d+)?%?"
# A number, perhaps with the interval that follows it; `-` and nothing are missing numbers.
NUMERIC = re.compile(rf"-?|{_NUMBER}( to {_NUMBER}| \({_NUMBER} to {_NUMBER}\))?")
MANY = 4  # names that are spelled out before the rest is counted


@dataclass(frozen=True)
class Section:
    """One question and its answer. Title and explanation are in `templates/sections.toml`."""

    key: str  # short, unique in a report: anchor and file name
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    figures: Mapping[str, Callable[[], Figure]] = field(default_factory=dict)  # name -> maker
    findings: Sequence[str] = ()  # Markdown sentences for the summary, most important first
    values: Mapping[str, Any] = field(default_factory=dict)  # of the placeholders in the texts
    text: str = ""  # key of its texts, if it is another
    answers: Sequence[str] = ()  # sentences that answer the study's question, besides the findings

    @property
    def title(self) -> str:
        """A few words."""
        return TEXTS[self.text or self.key]["title"].format(**self.values)

    @property
    def explanation(self) -> str:
        """How to read it and what it cannot show, in Markdown."""
        return TEXTS[self.text or self.key]["explanation"].format(**self.values)


@dataclass(frozen=True)
class Reading:
    """A study read from the store: first its own run, then those of its seeds. So whatever its own
    run says of them, the leaderboard knows.
    """

    tracker: Tracker
    parent: RunRecord  # the study's own run
    board: Leaderboard
    table: StudyTable

    @cached_property
    def seeds(self) -> list[RunRecord]:
        """The runs of the variants' seeds, oldest first."""
        return seed_runs(self.tracker, self.board.study)

    @cached_property
    def trial_runs(self) -> list[RunRecord]:
        """The runs of searches for settings, oldest first."""
        return self.tracker.runs(self.board.study, tags={"level": "trial"})

    @cached_property
    def trials(self) -> list[RunRecord]:
        """A run for each trial, in the order of the first ones: with the mean scores over its
        tuning seeds, their number as the tag `runs`, and the outcome of one that failed, if any.
        """
        by_trial: dict[str, list[RunRecord]] = {}
        for run in self.trial_runs:
            by_trial.setdefault(run.variant, []).append(run)
        return [_as_one(runs) for runs in by_trial.values()]

    def runs_of(self, row: Row) -> list[RunRecord]:
        """The runs of a row that have a score, oldest first."""
        wanted = set(row.seed_runs.values())
        return [run for run in self.seeds if run.run_id in wanted]


def _as_one(runs: Sequence[RunRecord]) -> RunRecord:
    run = next((each for each in runs if each.outcome != "ok"), runs[0])
    tags, metrics = {**run.tags, "runs": str(len(runs))}, {**run.metrics, **means(runs, "eval")}
    return replace(run, tags=tags, metrics=metrics)


def means(runs: Iterable[RunRecord], prefix: str) -> dict[str, float]:
    """Mean over the runs of every last metric whose name begins with `prefix`."""
    values: dict[str, list[float]] = {}
    for run in runs:
        for key, value in run.metrics.items():
            if key.startswith(prefix):
                values.setdefault(key, []).append(value)
    return {key: sum(found) / len(found) for key, found in values.items()}


def samples_of(tracker: Tracker, run_id: str) -> list[dict[str, Any]]:
    """The samples of a run's evaluations: `step`, `row`, `text` and more of each; none of a run
    that ended before its first evaluation.
    """
    try:
        table = json.loads(tracker.artifact(run_id, SAMPLES).read_text(encoding="utf-8"))
    except InputError:
        return []
    found = [dict(zip(table["columns"], line, strict=True)) for line in table["data"]]
    return [
        {**each, "text": each["text"].removeprefix(at_update(int(each["step"])))} for each in found
    ]


def last_samples(tracker: Tracker, run_id: str) -> list[dict[str, Any]]:
    """The samples of a run's last evaluation."""
    samples = samples_of(tracker, run_id)
    last = max((each["step"] for each in samples), default=0)
    return [each for each in samples if each["step"] == last]


def number(value: float) -> str:
    """Four significant digits, without a zero before the point: `.0312`, `-1.204`."""
    text = f"{value:.4g}" if abs(value) >= 1 else f"{value:.4f}".rstrip("0").rstrip(".")
    text = text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
    return "0" if text == "-0" else text


def p_value(p: float) -> str:
    """A p-value to three digits; none is zero."""
    return f"{p:.3f}" if p >= 0.0005 else "< 0.001"


def bracket(low: float, high: float) -> str:
    """An interval in a sentence: `[.01, .05]`."""
    return f"[{number(low)}, {number(high)}]"


def between(
    ends: tuple[float, float] | None, digits: int = 4, sign: str = "", why: str = "one run"
) -> str:
    """An interval in a table: `0.0100 to 0.0500`; `why` says why there is none."""
    return why if ends is None else " to ".join(f"{end:{sign}.{digits}f}" for end in ends)


def why_no_interval(row: Row) -> str:
    """Why the score of a row has no interval, if it has none."""
    if row.score is None:
        return "the metric has no worst value"
    if row.seeds == 1:
        return "one run"
    return f"{len(row.failed)} of {row.seeds} runs failed"


def contrast_cells(found: Difference, adjusted: float) -> list[str]:
    """A difference in a table: value, interval, pairs, p and adjusted p, if they are known."""
    if not math.isfinite(found.low):
        why = "one run" if found.pairs == 1 else "all runs failed"
        return [f"{found.value:+.4f}", why, str(found.pairs), "", ""]
    interval = between(found.ends, sign="+")
    return [f"{found.value:+.4f}", interval, str(found.pairs), p_value(found.p), p_value(adjusted)]


def scored(row: Row) -> str:
    """A row's score and its score without failures, with the intervals that they have. If no run
    failed, the two are one number, and its interval comes first.
    """
    failed = len(row.failed)
    if not failed and row.score is not None and row.survivors_interval is not None:
        shown = _with(row.score, row.survivors_interval)
        return f"{shown}, or {bracket(*row.interval)} if runs may fail" if row.interval else shown
    shown = "no score" if row.score is None else _with(row.score, row.interval)
    if failed and row.survivors is not None:
        shown += f", without failures {_with(row.survivors, row.survivors_interval)}"
    return f"{shown}; {failed} of {count(row.seeds, 'run')} failed" if failed else shown


def _with(value: float, ends: tuple[float, float] | None) -> str:
    return number(value) if ends is None else f"{number(value)} {bracket(*ends)}"


def names(found: Sequence[str]) -> str:
    """`a`, `b` and 3 more."""
    shown = [f"`{name}`" for name in found[:MANY]]
    if len(found) > MANY:
        return f"{', '.join(shown)} and {len(found) - MANY} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def contrast(level: str, reference: str, found: Difference, *, higher_is_better: bool) -> str:
    """The conclusion from a difference `level` minus `reference` with its 95% interval."""
    n, low, high = count(found.pairs, "pair" if found.paired else "pair of runs"), *found.ends
    if low == high == 0:
        return f"`{level}` and `{reference}` have the same score (n = {n})."
    if not math.isfinite(low):
        where = " in a single pair" if found.pairs == 1 else ""
        return (
            f"`{level}` minus `{reference}` is {number(found.value)}{where}; its variation by "
            f"chance is unknown."
        )
    if low > 0 or high < 0:
        better, worse = (level, reference) if (low > 0) == higher_is_better else (reference, level)
        near, far = sorted((abs(low), abs(high)))
        size = number(abs(found.value))
        return f"`{better}` beats `{worse}` by {size} {bracket(near, far)} (n = {n})."
    return (
        f"No significant difference between `{level}` and `{reference}` "
        f"(n = {n}, interval {bracket(low, high)})."
    )


def latex(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for the LaTeX package booktabs. Columns of numbers are aligned at the right; if a
    text is long, the columns of texts share the width of the page.
    """
    cells = [[" ".join(cell.split()) for cell in row] for row in rows]
    frame, named = pd.DataFrame(cells, columns=list(columns)), any(columns)
    text = frame.to_latex(
        index=False, header=named, escape=True, column_format=_aligned(columns, cells)
    )
    if not named:
        text = text.replace("\\midrule\n", "", 1)
    for sign, name in SIGNS.items():
        text = text.replace(sign, name)
    text = re.sub(r"(?<![^\s\[(])-(?=\.?\d)", "$-$", text)  # a hyphen is no minus
    text = re.sub(r"^(?=[\[*])", "{}", text, flags=re.MULTILINE)  # or an option of the line before
    return f"% \\usepackage{{booktabs}}\n{text}"


def _aligned(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """The format of the columns; wrapped ones have the room that the others leave."""
    every = [*zip(columns, *cells, strict=True)]
    widths = [max(map(len, column)) for column in every]
    numeric = [_is_numeric(column[1:]) for column in every]
    long = [
        max(widths) > LONG and width > LONG / 2 and not numbers
        for width, numbers in zip(widths, numeric, strict=True)
    ]
    rest = sum(width + 3 for width, wrapped in zip(widths, long, strict=True) if not wrapped)
    share = max(0.3, 1 - rest / LINE) / max(1, sum(long)) - GAP
    wide = f"p{{{share:.2f}\\linewidth}}"
    return "".join(
        wide if wrapped else "r" if numbers else "l"
        for wrapped, numbers in zip(long, numeric, strict=True)
    )


def frame_of(section: Section) -> pd.DataFrame:
    """A table for CSV: a missing number is empty, not a dash."""
    frame = pd.DataFrame(section.rows, columns=list(section.columns))
    numeric = [_is_numeric(column) for column in zip(*section.rows, strict=True)]
    frame.loc[:, numeric] = frame.loc[:, numeric].replace("-", "")
    return frame


def _is_numeric(column: Sequence[str]) -> bool:
    return all(NUMERIC.fullmatch(cell) for cell in column)
