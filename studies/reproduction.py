"""Published numbers beside ours: the table of docs/reproduction.md, from summaries alone."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from core.config import Frozen, explain, read_toml
from core.errors import InputError
from core.statistics import interval
from studies.analysis.wording import between, count
from studies.page.report import environment
from studies.sections import Reading
from studies.summary import load

FILE, TEMPLATE, REAL = "published.toml", "reproduction.md", "real"
NOT_RUN = "not run"


class Number(Frozen):
    """A number of a paper, and where ours stands."""

    paper: str
    system: str
    published: float
    study: str  # a summary's name
    row: str  # a variant of it, or REAL
    metric: str
    why: str


class Table(Frozen):
    """The file."""

    number: list[Number]


def reproduction(summaries: Path, store_dir: Path) -> str:
    """The page; text files of summaries go below `store_dir`. InputError for a bad file."""
    file = summaries / FILE
    try:
        numbers = TypeAdapter(Table).validate_python(read_toml(file)).number
    except ValidationError as error:
        raise InputError(explain(error, Table, str(file))) from None
    read = {
        name: load(summaries / f"{name}.json", store_dir / name)
        for name in sorted({each.study for each in numbers})
        if (summaries / f"{name}.json").exists()
    }
    rows = [_row(each, _values(each, read.get(each.study))) for each in numbers]
    return environment().get_template(TEMPLATE).render(rows=rows)


def _values(number: Number, reading: Reading | None) -> list[float]:
    """Ours, a seed each; none where the study was not run, or has no such row."""
    if reading is None:
        return []
    rows = [row for row in reading.board.rows if number.row in (row.variant, REAL)]
    wanted = {run_id for row in rows for run_id in row.seed_runs.values()}
    key = f"{'real' if number.row == REAL else 'test'}/{number.metric}"
    return [r.metrics[key] for r in reading.seeds if r.run_id in wanted and key in r.metrics]


def _row(number: Number, values: Sequence[float]) -> list[str]:
    said = [number.paper, number.system, number.metric, f"{number.published:.3f}"]
    if not values:
        return [*said, NOT_RUN, "", number.why]
    rng = np.random.default_rng(zlib.crc32(f"{number.study} {number.row}".encode()))
    ours = interval(values, rng)
    if number.row == REAL:
        sure = "the held-out text of every run"
    elif len(values) == 1:
        sure = between(None)
    else:
        sure = f"{between(ours.ends, digits=3)}, {count(len(values), 'run')}"
    shown = f"{ours.value:.3f} ({sure})"
    return [*said, shown, f"{ours.value - number.published:+.3f}", number.why]
