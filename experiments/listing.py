"""`textgan runs list | compare`: runs as rows of a table, filtered, sorted and compared."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import typer

from core.errors import InputError, nearest
from core.metrics.catalogue import METRICS
from core.tracking.protocol import RunRecord, Tracker
from experiments.console import stdout, table
from studies.leaderboard import CORPORA
from studies.table import DEFAULT_METRIC

Row = dict[str, Any]
SHOWN = ("run_id", "study", "variant", "seed", "outcome")
LEVELS = ("run", "seed", "trial", "trunk")  # training runs; studies and variants group these
SCORES = ("eval/", "eval_", "test/", "test_")
FROM_TAGS = ("level", "system", "device", "git_commit", "corpus", "reason", "forked_from")
OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge, "<=": operator.le, "!=": operator.ne, "=": operator.eq,
    ">": operator.gt, "<": operator.lt,
}  # fmt: skip
CLAUSE = re.compile(
    r"\s*(?P<key>`[^`]+`|[^\s=!<>~`'\"]+)\s*(?P<op>>=|<=|!=|==|=|>|<|~)\s*"
    r"(?P<value>'[^']*'|\"[^\"]*\"|[^\s'\"]+)(?:\s+(?P<more>and\b)|\s*$)",
    re.IGNORECASE,
)
PREFIX = re.compile(r"^(metrics|params|tags|attributes)\.")
HEADER = "clauses such as  eval/valid > 0.5 and sampling.name = 'detached'"


@dataclass(frozen=True)
class Clause:
    """`key op value`; `~` is "contains"."""

    key: str
    op: str
    value: str

    def holds(self, row: Row) -> bool:
        """Whether a row meets the clause; a run without the value never does."""
        found = row.get(self.key)
        if found is None:
            return False
        if self.op == "~":
            return self.value.lower() in str(found).lower()
        ours, theirs = as_number(found), as_number(self.value)
        if ours is not None and theirs is not None:
            return OPERATORS[self.op](ours, theirs)
        if self.op not in ("=", "!="):
            return False
        return OPERATORS[self.op](str(found), self.value)


def runs_of(tracker: Tracker, study: str | None) -> list[RunRecord]:
    """The runs of a study and, if it is on several corpora, of the study of each; without, all."""
    found = tracker.runs(study)
    corpora = [run.tags[CORPORA] for run in found if study is not None and CORPORA in run.tags]
    names = [name for each in corpora for name in json.loads(each).values()]
    return [*found, *(run for name in names for run in tracker.runs(name))]


def columns_of(runs: Sequence[RunRecord]) -> list[str]:
    """The columns that are shown unless others are asked for: the metric is the one that ranks the
    study, for its trials that of the validation split too; of several studies it is the default.
    """
    found = {run.params.get("metric", DEFAULT_METRIC) for run in runs
             if run.tags.get("level") == "study"}  # fmt: skip
    ranks = found.pop() if len(found) == 1 else DEFAULT_METRIC
    return list(dict.fromkeys([*SHOWN, ranks.replace("test", "eval", 1), ranks]))


def as_rows(runs: Sequence[RunRecord]) -> list[Row]:
    """One row per training run: identity, outcome, configuration, metrics."""
    return [_row(run) for run in runs if run.tags.get("level") in LEVELS]


def _row(run: RunRecord) -> Row:
    tags = run.tags
    return {
        "run_id": run.run_id,
        "study": run.experiment,
        "variant": tags.get("variant", run.name),
        "seed": as_number(tags["seed"]) if "seed" in tags else None,
        "outcome": run.outcome or run.status.lower(),
        "started": datetime.fromtimestamp(run.start / 1000, UTC).isoformat(timespec="seconds"),
        "seconds": as_number(tags.get("seconds")),
        "updates": as_number(tags.get("updates")),
        **{tag: tags.get(tag) for tag in FROM_TAGS},
        **{key: run.params[key] for key in sorted(run.params) if key not in ("seed", *FROM_TAGS)},
        **{key: value for key, value in sorted(run.metrics.items()) if key.startswith(SCORES)},
    }


def parse_filter(text: str, columns: Sequence[str]) -> list[Clause]:
    """The clauses of `a > 1 and b = x`, all of which must hold; InputError for invalid text.

    Names are columns of the table, with or without the prefix `metrics.`, `params.` or `tags.`.
    """
    clauses, position = [], 0
    while position < len(text):
        match = CLAUSE.match(text, position)
        if match is None:
            rest = text[position:].strip()
            raise InputError(f"--filter: {rest!r} is not understood; write {HEADER}")
        key = column(match["key"].strip("`"), columns, "--filter")
        op = "=" if match["op"] == "==" else match["op"]
        clauses.append(Clause(key, op, match["value"].strip("'\"")))
        position = match.end()
        if match["more"] and not text[position:].strip():
            raise InputError(f"--filter: something must follow 'and'; write {HEADER}")
    if not clauses:
        raise InputError(f"--filter is empty; write {HEADER}")
    return clauses


def column(name: str, columns: Sequence[str], where: str) -> str:
    """The column of this name; InputError that suggests the nearest one."""
    plain = name if name in columns else PREFIX.sub("", name)
    if plain not in columns:
        raise InputError(f"{where}: no column {plain!r}{_nearest(plain, columns)}")
    return plain


def _nearest(name: str, columns: Sequence[str]) -> str:
    found = nearest(name, columns)
    return found if "mean" in found else "; `textgan runs --csv` shows all of them"


def select(
    rows: Sequence[Row], where: str | None, by: str | None, columns: Sequence[str]
) -> tuple[list[Row], list[str]]:
    """The rows that `--filter` and `--sort` select, with the columns of `--columns`, and the names
    of these columns (default: all). InputError for a column that does not exist.
    """
    if not rows:  # nobody knows which columns there are
        return [], list(dict.fromkeys(["run_id", *columns])) if columns else list(SHOWN)
    known = list(dict.fromkeys(key for row in rows for key in row))
    if where is not None:
        clauses = parse_filter(where, known)
        rows = [row for row in rows if all(clause.holds(row) for clause in clauses)]
    if by is not None:
        rows = sort(rows, column(by, known, "--sort"))
    if not columns:
        return list(rows), known
    named = [column(name, known, "--columns") for name in columns]
    named = list(dict.fromkeys(["run_id", *named]))
    return [{key: row.get(key) for key in named} for row in rows], named


def sort(rows: Sequence[Row], key: str) -> list[Row]:
    """Best first for a metric, ascending for anything else; runs without the value last."""
    info = METRICS.get(key.partition("/")[2])
    best_is_high = info is not None and info.direction == "higher"
    known = [row for row in rows if row.get(key) is not None]
    numbers = all(as_number(row[key]) is not None for row in known)
    value: Callable[[Row], Any] = lambda r: as_number(r[key]) if numbers else str(r[key])  # noqa: E731
    known.sort(key=value, reverse=best_is_high)
    return known + [row for row in rows if row.get(key) is None]


def compare(rows: Sequence[Row]) -> dict[str, Any]:
    """Settings that differ between the runs, and all metrics, with one value per run."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    known = ("run_id", "study", "variant", "seed", "outcome", "started", "seconds", "reason")
    settings = [k for k in keys if not k.startswith(SCORES) and k not in known]
    different = {
        key: values for key in ("seed", *settings)
        if len(set(values := [row.get(key) for row in rows])) > 1
    }  # fmt: skip
    metrics = {key: [row.get(key) for row in rows] for key in keys if key.startswith(SCORES)}
    return {"runs": [row["run_id"] for row in rows], "differences": different, "metrics": metrics}


def print_csv(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Print one row per run, for pandas."""
    typer.echo(pd.DataFrame(list(rows), columns=list(columns)).to_csv(index=False), nl=False)


def show(rows: Sequence[Row], columns: Sequence[str], none: str) -> None:
    """Print a table of runs, or what to say of none. A narrow terminal does not show the study of
    runs that are all of one.
    """
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    for row in cells:
        row[0] = row[0][:8]  # long enough for every command that takes a run
    one_study = len({row.get("study") for row in rows}) == 1
    optional = "study" if one_study and len(columns) > len(SHOWN) else ""
    stdout.print(table(list(columns), cells, optional=optional) if rows else none)


def show_comparison(rows: Sequence[Row], compared: Mapping[str, Any]) -> None:
    """Print what `compare` found."""
    heads = [f"{row['run_id'][:8]} {row['variant']}" for row in rows]
    for title in ("differences", "metrics"):
        cells = [[key, *map(_cell, values)] for key, values in compared[title].items()]
        if cells:
            stdout.print(table([title, *heads], cells))
            stdout.print()
    if not compared["differences"]:
        stdout.print("their configurations are the same")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def as_number(value: Any) -> float | int | None:
    """A number, also one that is written as text; None for anything else."""
    if isinstance(value, int | float):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() and str(value).lstrip("-").isdigit() else number
