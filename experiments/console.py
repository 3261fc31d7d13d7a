"""Output of the command line: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

FILE_WIDTH = 160  # columns, where standard output is not a terminal
LONGEST_UNFOLDED = 16  # characters of a cell that is never folded: a number, an interval
NARROWEST = 12  # characters of a column that folds
stdout = Console(highlight=False, width=None if sys.stdout.isatty() else FILE_WIDTH)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """Print one JSON document on standard output; NaN and infinity become null."""
    sys.stdout.write(json.dumps(_plain(document), ensure_ascii=False, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def number(value: float | None, spec: str = ".4f") -> str:
    """A number as text; `-` for None."""
    return "-" if value is None else format(value, spec)


def interval(low: float | None, high: float | None, spec: str = ".4f") -> str:
    """An interval as text; empty for None."""
    return "" if low is None or high is None else f"{low:{spec}} to {high:{spec}}"


def table(columns: list[str], rows: list[list[str]], title: str | None = None) -> Table:
    """A plain table. Columns of text fold in a narrow terminal; columns of numbers do not."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        widest = max((len(row[index]) for row in rows), default=0)
        folds = widest > LONGEST_UNFOLDED
        made.add_column(column, no_wrap=not folds, min_width=NARROWEST if folds else None)
    for row in rows:
        made.add_row(*row)
    return made


Advance = Callable[[float, float | None, str], None]


@contextmanager
def progress(title: str, *, stays: bool = True) -> Iterator[Advance]:
    """A progress bar on standard error; the callable takes (done, total, text). Nothing is printed
    without a terminal. With `stays` the finished bar remains.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
        console=stderr,
        transient=not stays,
        speed_estimate_period=3600,  # a study's runs end minutes apart, several at once
        disable=not stderr.is_terminal,
    )
    with bar:
        task = bar.add_task(title, total=1, text="")

        def advance(done: float, total: float | None, text: str = "") -> None:
            bar.update(task, completed=done, total=total or max(done, 1), text=text)

        yield advance
