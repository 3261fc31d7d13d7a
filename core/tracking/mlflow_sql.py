"""Runs read from MLflow's own tables: thousands of them while `search_runs` is still at hundreds.

`search_runs` builds an object for every parameter, metric and tag of every run, wanted or not:
minutes for 5,000 runs. Four queries that name the columns give the same records. The tables are
MLflow's, not ours, so all that knows them is here, a test holds the answers against `search_runs`,
and `UnreadableError` sends the caller back to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Select, column, create_engine, or_, select, table
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from core.tracking.protocol import ALL, Columns, RunRecord

RUNS = table("runs", *map(column, ("run_uuid", "name", "status", "start_time", "end_time",
                                   "lifecycle_stage", "experiment_id")))  # fmt: skip
EXPERIMENTS = table("experiments", column("experiment_id"), column("name"),
                    column("lifecycle_stage"))  # fmt: skip
VALUES = {
    "tags": table("tags", column("run_uuid"), column("key"), column("value")),
    "params": table("params", column("run_uuid"), column("key"), column("value")),
    "metrics": table("latest_metrics", column("run_uuid"), column("key"), column("value"),
                     column("is_nan")),
}  # fmt: skip
PARENT = "mlflow.parentRunId"
Values = dict[str, dict[str, Any]]  # run id -> key -> value


class UnreadableError(Exception):
    """The tables are not as this file knows them."""


class SqlRuns:
    """The runs of a store that is a database we may open ourselves."""

    def __init__(self, uri: str) -> None:
        self._engine = create_engine(uri)

    def exists(self) -> bool:
        """Whether MLflow has made its tables, as this file knows them."""
        try:
            self.experiments()
        except UnreadableError:
            return False
        return True

    def experiments(self) -> list[str]:
        """Names of the active experiments."""
        query = select(EXPERIMENTS.c.name).where(EXPERIMENTS.c.lifecycle_stage == "active")
        try:
            with self._engine.connect() as connection:
                return sorted(connection.execute(query).scalars())
        except SQLAlchemyError as error:
            raise UnreadableError(str(error)) from None

    def read(
        self,
        experiment: str | None,
        tags: Mapping[str, str],
        columns: Columns = ALL,
        run_ids: Sequence[str] | None = None,
    ) -> list[RunRecord]:
        """Active runs, oldest first; see `Tracker.runs`."""
        chosen = _chosen(experiment, tags, run_ids)
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(chosen.order_by(RUNS.c.start_time, RUNS.c.run_uuid)).all()
                found = {
                    kind: _values(connection, kind, chosen, columns.of(kind)) for kind in VALUES
                }
        except SQLAlchemyError as error:
            raise UnreadableError(str(error)) from None
        return [_record(row, found) for row in rows]


def _chosen(
    experiment: str | None, tags: Mapping[str, str], run_ids: Sequence[str] | None
) -> Select[Any]:
    chosen = (
        select(
            RUNS.c.run_uuid,
            RUNS.c.name,
            RUNS.c.status,
            RUNS.c.start_time,
            RUNS.c.end_time,
            EXPERIMENTS.c.name.label("experiment"),
        )
        .join(EXPERIMENTS, EXPERIMENTS.c.experiment_id == RUNS.c.experiment_id)
        .where(RUNS.c.lifecycle_stage == "active", EXPERIMENTS.c.lifecycle_stage == "active")
    )
    if experiment is not None:
        chosen = chosen.where(EXPERIMENTS.c.name == experiment)
    if run_ids is not None:
        chosen = chosen.where(RUNS.c.run_uuid.in_(run_ids))
    tag = VALUES["tags"].c
    for key, value in tags.items():
        having = select(tag.run_uuid).where(tag.key == key, tag.value == value)
        chosen = chosen.where(RUNS.c.run_uuid.in_(having))
    return chosen


def _values(
    connection: Connection, kind: str, chosen: Select[Any], wanted: Sequence[str] | None
) -> Values:
    """Key to value of each chosen run; `wanted` keys may end in `*`, None is all."""
    source = VALUES[kind]
    ids = chosen.with_only_columns(RUNS.c.run_uuid)
    query = select(source).where(source.c.run_uuid.in_(ids))
    if wanted is not None:
        whole = [key for key in wanted if not key.endswith("*")]
        starts = [key[:-1] for key in wanted if key.endswith("*")]
        named = [source.c.key.startswith(start, autoescape=True) for start in starts]
        query = query.where(or_(source.c.key.in_(whole), *named))
    values: Values = {}
    for run_id, key, value in _plain(connection, kind, query):
        values.setdefault(run_id, {})[key] = value
    return values


def _plain(connection: Connection, kind: str, query: Select[Any]) -> Iterator[tuple[str, str, Any]]:
    for row in connection.execute(query):
        if kind == "metrics":
            yield row[0], row[1], math.nan if row[3] else row[2]
        else:
            yield row[0], row[1], row[2]


def _record(row: Any, found: Mapping[str, Values]) -> RunRecord:
    tags = found["tags"].get(row.run_uuid, {})
    return RunRecord(
        row.run_uuid,
        row.experiment,
        row.name or "",
        row.status,
        tags.get(PARENT),
        tags,
        found["params"].get(row.run_uuid, {}),
        found["metrics"].get(row.run_uuid, {}),
        row.start_time,
        row.end_time,
    )
