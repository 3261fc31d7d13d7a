"""What the command line shows: results on standard output, everything else on standard error."""

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

WIDTH_OF_A_FILE = 160
LONGEST = 16  # characters of a cell that is never folded: a number, an interval
NARROWEST = 12  # characters of a column that folds
out = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """One JSON document on standard output; what is not a number there is null."""
    sys.stdout.write(json.dumps(_plain(document), ensure_ascii=False, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def table(columns: list[str], rows: list[list[str]], title: str | None = None) -> Table:
    """A plain table; columns of texts fold where the terminal is narrow, those of numbers never."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        widest = max((len(row[index]) for row in rows), default=0)
        folds = widest > LONGEST
        made.add_column(column, no_wrap=not folds, min_width=NARROWEST if folds else None)
    for row in rows:
        made.add_row(*row)
    return made


Advance = Callable[[float, float | None, str], None]


@contextmanager
def progress(title: str, *, stays: bool = True) -> Iterator[Advance]:
    """A bar on standard error; the callable takes (done, total, words). Silent without a
    terminal; at its end it stays there, or goes.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}"),
        console=err,
        transient=not stays,
        speed_estimate_period=3600,  # runs of a study end minutes apart, two workers' at once
        disable=not err.is_terminal,
    )
    with bar:
        task = bar.add_task(title, total=1, words="")

        def advance(done: float, total: float | None, words: str = "") -> None:
            bar.update(task, completed=done, total=total or max(done, 1), words=words)

        yield advance
