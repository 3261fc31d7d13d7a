"""Runs as rows of a table: listed, filtered, sorted, compared."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from core.errors import InputError, nearest
from core.metrics.catalogue import METRICS
from core.tracking.protocol import RunRecord

Row = dict[str, Any]
LEVELS = ("run", "seed", "trial")  # what trains; studies and variants are made of these
SCORES = ("eval/", "test/")
FROM_TAGS = ("device", "git_commit", "corpus", "reason")
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
        """Whether a row meets it; a run without the value does not, whatever is asked."""
        found = row.get(self.key)
        if found is None:
            return False
        if self.op == "~":
            return self.value.lower() in str(found).lower()
        ours, theirs = _number(found), _number(self.value)
        if ours is not None and theirs is not None:
            return OPERATORS[self.op](ours, theirs)
        if self.op not in ("=", "!="):
            return False
        return OPERATORS[self.op](str(found), self.value)


def as_rows(runs: Sequence[RunRecord]) -> list[Row]:
    """A row for each training run: who it is, how it ended, its configuration, its numbers."""
    return [_row(run) for run in runs if run.tags.get("level") in LEVELS]


def _row(run: RunRecord) -> Row:
    tags = run.tags
    return {
        "run_id": run.run_id,
        "study": run.experiment,
        "variant": tags.get("variant", run.name),
        "seed": _number(tags["seed"]) if "seed" in tags else None,
        "outcome": run.outcome or run.status.lower(),
        "started": datetime.fromtimestamp(run.start / 1000, UTC).isoformat(timespec="seconds"),
        "seconds": _number(tags.get("seconds")),
        "updates": _number(tags.get("updates")),
        **{tag: tags.get(tag) for tag in FROM_TAGS},
        **{key: run.params[key] for key in sorted(run.params) if key != "seed"},
        **{key: value for key, value in sorted(run.metrics.items()) if key.startswith(SCORES)},
    }


def parse_filter(text: str, columns: Sequence[str]) -> list[Clause]:
    """`a > 1 and b = x` as clauses, all of which must hold; InputError for what is not one.

    Names are columns of the table; `metrics.`, `params.` and `tags.` in front of one are allowed.
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
    """The column of this name; InputError with the nearest one."""
    plain = name if name in columns else PREFIX.sub("", name)
    if plain not in columns:
        raise InputError(f"{where}: no column {plain!r}{_nearest(plain, columns)}")
    return plain


def _nearest(name: str, columns: Sequence[str]) -> str:
    found = nearest(name, columns)
    return found if "mean" in found else "; `textgan runs --csv` shows all of them"


def sort(rows: Sequence[Row], key: str) -> list[Row]:
    """Best first for a metric, ascending for anything else; runs without the value last."""
    info = METRICS.get(key.partition("/")[2])
    best_is_high = info is not None and info.direction == "higher"
    known = [row for row in rows if row.get(key) is not None]
    numbers = all(_number(row[key]) is not None for row in known)
    value: Callable[[Row], Any] = lambda r: _number(r[key]) if numbers else str(r[key])  # noqa: E731
    known.sort(key=value, reverse=best_is_high)
    return known + [row for row in rows if row.get(key) is None]


def compare(rows: Sequence[Row]) -> dict[str, Any]:
    """What differs in the runs' configurations, and all their metrics, one value a run."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    known = ("run_id", "study", "variant", "seed", "outcome", "started", "seconds", "reason")
    settings = [k for k in keys if not k.startswith(SCORES) and k not in known]
    different = {
        key: values for key in ("seed", *settings)
        if len(set(values := [row.get(key) for row in rows])) > 1
    }  # fmt: skip
    metrics = {key: [row.get(key) for row in rows] for key in keys if key.startswith(SCORES)}
    return {"runs": [row["run_id"] for row in rows], "differences": different, "metrics": metrics}


def _number(value: Any) -> float | int | None:
    if isinstance(value, int | float):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() and str(value).lstrip("-").isdigit() else number
