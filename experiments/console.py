"""Output of the command line: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from core.process import check_interrupted

FILE_WIDTH = 160  # columns, where standard output is not a terminal
LONGEST_UNFOLDED = 16  # characters of a cell that is never folded: a number, an interval
LONGEST_WORD = 32  # characters of a name that is never folded
LINE_SECONDS = 60  # between lines of progress where there is no terminal
MOST_FOLDED = 2  # columns of a table that is never split into blocks
GAP = 2  # characters between columns
_narrow = sys.stdout.isatty() or "COLUMNS" in os.environ
# Without emoji: a signature's `refs:100:b4bf` is not a sign for `:100:`.
stdout = Console(highlight=False, emoji=False, width=None if _narrow else FILE_WIDTH)
stderr = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)


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


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    title: str | None = None,
    console: Console = stdout,
    optional: str = "",
) -> Table:
    """A plain table. Numbers, ids and names stay whole; longer text folds. If the terminal is too
    narrow for that, the `optional` column is left out, or else each row is a block of lines, one
    for each column.
    """
    least = [max(map(_narrowest, column)) for column in zip(columns, *rows, strict=True)]
    if sum(least) + GAP * len(columns) > console.width:
        if optional and optional in columns:
            kept = [place for place, column in enumerate(columns) if column != optional]
            cells = [[row[place] for place in kept] for row in rows]
            return table([columns[place] for place in kept], cells, title, console)
        if len(columns) > MOST_FOLDED:
            return _blocks(columns, rows, title)
        least = [min(width, LONGEST_UNFOLDED) for width in least]
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column, width in zip(columns, _widths(least, columns, rows, console.width), strict=True):
        made.add_column(Text(column), width=width, overflow="fold")
    for row in rows:
        made.add_row(*map(Text, row))
    return made


def _narrowest(cell: str) -> int:
    """The least width of a cell: a number or a short text on one line, else its longest word."""
    longest = max(map(cell_len, cell.split()), default=0)
    return cell_len(cell) if cell_len(cell) <= LONGEST_UNFOLDED else min(longest, LONGEST_WORD)


def _widths(
    least: Sequence[int], columns: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> list[int]:
    """The widths of columns: at least these, and the room that is left goes to those that need
    more, in equal parts. Rich's own widths may be too large in sum, and it cuts the last column.
    """
    widest = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]
    found, left = list(least), width - sum(least) - GAP * len(least)
    needs = sorted(range(len(least)), key=lambda place: widest[place] - least[place])
    for rank, place in enumerate(needs):
        more = max(0, min(widest[place] - least[place], left // (len(needs) - rank)))
        found[place] += more
        left -= more
    return found


def _blocks(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None) -> Table:
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, show_header=False)
    made.add_column(style="bold", overflow="fold")
    made.add_column(overflow="fold")
    for row in rows:
        for column, cell in zip(columns, row, strict=True):
            if cell:
                made.add_row(Text(column), Text(cell))
        made.add_row()
    return made


Advance = Callable[[float, float | None, str], None]


@contextmanager
def progress(title: str, *, stays: bool = True) -> Iterator[Advance]:
    """A progress bar on standard error, or one line a minute without a terminal; the callable takes
    (done, total, text). With `stays` the finished bar remains.
    """
    check_interrupted()
    if not stderr.is_terminal:
        log = log_lines(title)

        def line(done: float, total: float | None, text: str = "") -> None:
            log(f"{done:.0f}{'' if total is None else f'/{total:.0f}'}  {text}")

        yield line
        return
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
    )
    with bar:
        task = bar.add_task(title, total=1, text="")

        def advance(done: float, total: float | None, text: str = "") -> None:
            bar.update(task, completed=done, total=total or max(done, 1), text=text)

        yield advance


def log_lines(title: str = "") -> Callable[[str], None]:
    """Prints texts as a log, at most one a minute, after the title if there is one."""
    last = time.monotonic()

    def log(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            stderr.print(f"{title}: {text}".removeprefix(": ").rstrip(), markup=False)

    return log
