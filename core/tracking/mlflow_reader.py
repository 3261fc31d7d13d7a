"""Reads runs from an MLflow store: with SQL of our own if it is a database, else with the client.

`search_runs` builds an object for every parameter, metric and tag of every run: minutes for 5,000
runs. Four queries that name the columns return the same records ten times as fast; a curve takes
0.4 ms instead of 15. The tables are MLflow's, so only this file knows them, a test compares the
answers with those of the client, and `UnreadableError` makes the caller use the client.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Select, column, create_engine, or_, select, table
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from core.addresses import SQLITE, shown
from core.errors import InputError, MachineError, TextganError, first_line
from core.server_errors import ABSENT, server_reason
from core.tracking.mlflow_client import MlflowStore, logged_models, pages
from core.tracking.mlflow_delivery import MODEL, begins_here, server_id
from core.tracking.protocol import ALL, MLFLOWS_OWN, NONE, Columns, RunRecord, Tags, find_run

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
POINTS = table("metrics", *map(column, ("run_uuid", "key", "step", "value", "is_nan")))
IDS = 200  # run ids per request
Values = dict[str, dict[str, Any]]  # run id -> key -> value


class UnreadableError(Exception):
    """The tables are not those that this file knows."""


@dataclass(frozen=True)
class Filter:
    """Which runs to read; see `Tracker.runs`."""

    experiment: str | None = None
    tags: Tags = field(default_factory=dict)
    run_ids: Sequence[str] | None = None
    deleted: bool = False


class SqlRuns:
    """The runs of a store that is a database."""

    def __init__(self, uri: str) -> None:
        self._uri, self._engine = uri, create_engine(uri)

    def exists(self) -> bool:
        """Whether MLflow has created its tables, in the form that this file knows."""
        try:
            self.experiments()
        except UnreadableError:
            return False
        return True

    def experiments(self, *, deleted: bool = False) -> list[str]:
        """See `Tracker`."""
        query = select(EXPERIMENTS.c.name)
        if not deleted:
            query = query.where(EXPERIMENTS.c.lifecycle_stage == "active")
        return sorted(name for (name,) in self._fetch(query))

    def read(self, wanted: Filter, columns: Columns) -> list[RunRecord]:
        """Runs, oldest first; see `Tracker.runs`."""
        chosen = _chosen(wanted)
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(chosen.order_by(RUNS.c.start_time, RUNS.c.run_uuid)).all()
                found = {
                    kind: _values(connection, kind, chosen, columns.of(kind)) for kind in VALUES
                }
        except SQLAlchemyError as error:
            raise self._refused(error) from None
        records = []
        for row in rows:
            given, params, metrics = (found[kind].get(row.run_uuid, {}) for kind in VALUES)
            records.append(RunRecord(
                row.run_uuid, row.experiment, row.name or "", row.status, given, params, metrics,
                row.start_time, row.end_time, row.lifecycle_stage != "active",
            ))  # fmt: skip
        return records

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """See `Tracker`."""
        point = POINTS.c
        query = select(point.step, point.value, point.is_nan).where(
            point.run_uuid == run_id, point.key == metric
        )
        found = self._fetch(query)
        return sorted((step, math.nan if is_nan else value) for step, value, is_nan in found)

    def _fetch(self, query: Select[Any]) -> Sequence[Any]:
        try:
            with self._engine.connect() as connection:
                return connection.execute(query).all()
        except SQLAlchemyError as error:
            raise self._refused(error) from None

    def _refused(self, error: SQLAlchemyError) -> MachineError | UnreadableError:
        """MLflow's client would try a database that is away for minutes."""
        reason = server_reason(str(error))
        if reason is None:
            return UnreadableError(str(error))
        return MachineError(f"{shown(self._uri)}: {reason}")


def _chosen(wanted: Filter) -> Select[Any]:
    chosen = select(RUNS, EXPERIMENTS.c.name.label("experiment")).join(
        EXPERIMENTS, EXPERIMENTS.c.experiment_id == RUNS.c.experiment_id
    )
    if not wanted.deleted:
        active = (each.c.lifecycle_stage == "active" for each in (RUNS, EXPERIMENTS))
        chosen = chosen.where(*active)
    if wanted.experiment is not None:
        chosen = chosen.where(EXPERIMENTS.c.name == wanted.experiment)
    if wanted.run_ids is not None:
        chosen = chosen.where(RUNS.c.run_uuid.in_(wanted.run_ids))
    tag = VALUES["tags"].c
    for key, value in wanted.tags.items():
        having = select(tag.run_uuid).where(tag.key == key, tag.value == value)
        chosen = chosen.where(RUNS.c.run_uuid.in_(having))
    return chosen


def _values(
    connection: Connection, kind: str, chosen: Select[Any], wanted: Sequence[str] | None
) -> Values:
    """The values of each chosen run; `wanted` as in `Columns`."""
    source = VALUES[kind]
    ids = chosen.with_only_columns(RUNS.c.run_uuid)
    query = select(source).where(source.c.run_uuid.in_(ids))
    if wanted is not None:
        whole = [key for key in wanted if not key.endswith("*")]
        starts = [key[:-1] for key in wanted if key.endswith("*")]
        named = [source.c.key.startswith(start, autoescape=True) for start in starts]
        query = query.where(or_(source.c.key.in_(whole), *named))
    values: Values = {}
    for run_id, key, value, *is_nan in connection.execute(query):
        values.setdefault(run_id, {})[key] = math.nan if any(is_nan) else value
    return values


class MlflowReader:
    """The reading half of `Tracker`."""

    def __init__(self, uri: str) -> None:
        self.store = MlflowStore(uri)
        self.uri, self.store_dir = uri, self.store.store_dir
        self.read_only = self.store.read_only
        self.sql = None if uri.startswith("http") else SqlRuns(self.store.address)
        if self.sql is None or not self.sql.exists():
            _ = self.store.client  # creates the tables, or fails with a message

    def experiments(self, *, deleted: bool = False) -> list[str]:
        """See `Tracker`."""
        if self.sql is not None:
            with contextlib.suppress(UnreadableError):
                return _made(self.sql.experiments(deleted=deleted), deleted=deleted)
        return _made(self._names(deleted=deleted).values(), deleted=deleted)

    def _names(self, *, deleted: bool) -> dict[str, str]:
        """The name of each experiment, by id."""
        with self.store.reading():
            found = pages(self.store.client.search_experiments, view_type=_view(deleted=deleted))
            return {experiment.experiment_id: experiment.name for experiment in found}

    def runs(
        self,
        experiment: str | None = None,
        *,
        tags: Tags | None = None,
        columns: Columns = ALL,
        deleted: bool = False,
    ) -> list[RunRecord]:
        """See `Tracker`."""
        return self._read(Filter(experiment, tags or {}, deleted=deleted), columns)

    def gone(self, run_ids: Sequence[str]) -> set[str]:
        """See `Tracker`."""
        ours = {server_id(self.store_dir, run_id): run_id for run_id in run_ids}
        theirs = list(ours)
        for start in range(0, len(theirs), IDS):
            for run in self._read(Filter(run_ids=theirs[start : start + IDS]), NONE):
                del ours[run.run_id]
        return {run_id for run_id in ours.values() if not begins_here(self.store_dir, run_id)}

    def _read(self, wanted: Filter, columns: Columns) -> list[RunRecord]:
        if self.sql is not None:
            with contextlib.suppress(UnreadableError):
                return self.sql.read(wanted, columns)
        return self._search(wanted)

    def _search(self, wanted: Filter) -> list[RunRecord]:
        names = self._names(deleted=wanted.deleted)
        ids = [key for key, name in names.items() if wanted.experiment in (None, name)]
        if not ids:
            return []
        clauses = [f"tags.`{key}` = {_quoted(value)}" for key, value in wanted.tags.items()]
        if wanted.run_ids is not None:
            clauses.append(f"attributes.run_id IN ({', '.join(map(_quoted, wanted.run_ids))})")
        with self.store.reading():
            runs = pages(
                self.store.client.search_runs, ids, " and ".join(clauses),
                _view(deleted=wanted.deleted), order_by=["start_time ASC"],
            )  # fmt: skip
            return [_record_of(run, names) for run in runs]

    def run(self, key: str) -> RunRecord:
        """See `Tracker`."""
        run_id = find_run(self.runs(columns=NONE), server_id(self.store_dir, key)).run_id
        return self._read(Filter(run_ids=[run_id]), ALL)[0]

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """See `Tracker`."""
        identity = server_id(self.store_dir, run_id)
        if self.sql is not None:
            with contextlib.suppress(UnreadableError):
                return self.sql.history(identity, metric)
        with self.store.reading():
            points = self.store.client.get_metric_history(identity, metric)
        return sorted((point.step, point.value) for point in points)

    def artifact(self, run_id: str, path: str) -> Path:
        """See `Tracker`."""
        from mlflow.exceptions import MlflowException

        identity = server_id(self.store_dir, run_id)
        try:
            return Path(self.store.client.download_artifacts(identity, path, self._place()))
        except (MlflowException, OSError) as error:
            raise self._not_there(error, f"run {run_id}: no artifact {path!r}") from None

    def _not_there(self, error: Exception, words: str) -> TextganError:
        """Of a failed download: MachineError if the server is the reason, else InputError."""
        reason = server_reason(str(error))
        if reason is not None and ABSENT not in reason:
            return MachineError(f"{shown(self.uri)}: {reason}")
        why = first_line(error)
        return InputError(f"{words} ({why})" if why else words)

    def model(self, run_id: str) -> Path:
        """See `Tracker`."""
        import mlflow
        from mlflow.exceptions import MlflowException

        place = self._model(run_id).artifact_location
        try:
            folder = mlflow.artifacts.download_artifacts(
                artifact_uri=place, dst_path=self._place(), tracking_uri=self.store.address
            )
            return next((Path(folder) / "artifacts").iterdir())  # holds the logged folder alone
        except (MlflowException, OSError, StopIteration) as error:
            raise self._not_there(error, f"run {run_id}: its model cannot be read") from None

    def _place(self) -> str | None:
        """A folder to download to; None for the files of a local store, which are read in place."""
        is_local = self.store.address.startswith(SQLITE)
        return None if is_local else tempfile.mkdtemp(dir=_downloads())

    def _model(self, run_id: str) -> Any:
        with self.store.reading():
            run = self.store.client.get_run(server_id(self.store_dir, run_id))
            models = logged_models(self.store.client, run)
        own = [model for model in models if model.model_type == MODEL]  # not a kept one
        if not own:
            raise InputError(f"run {run_id} has no model (it may not have ended)")
        return own[-1]


@cache
def _downloads() -> Path:
    """Where this process keeps what it downloads, until it ends; MLflow would leave it for ever."""
    folder = Path(tempfile.mkdtemp(prefix="textgan-downloads-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _made(experiments: Iterable[str], *, deleted: bool) -> list[str]:
    """The experiments that people have made, sorted; `deleted`: every name that is taken."""
    return sorted(name for name in experiments if deleted or name != MLFLOWS_OWN)


def _view(*, deleted: bool) -> Any:
    from mlflow.entities import ViewType

    return ViewType.ALL if deleted else ViewType.ACTIVE_ONLY


def _quoted(value: str) -> str:
    """A value of a filter; MLflow knows no escapes in it."""
    return f'"{value}"' if "'" in value else f"'{value}'"


def _record_of(run: Any, experiments: Mapping[str, str]) -> RunRecord:
    info, data = run.info, run.data
    return RunRecord(
        info.run_id, experiments[info.experiment_id], info.run_name or "", info.status,
        data.tags, data.params, data.metrics, info.start_time, info.end_time,
        info.lifecycle_stage != "active",
    )  # fmt: skip
