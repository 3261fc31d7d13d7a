"""MLflow behind the tracker protocol; only files named mlflow_* import it.

The default store is `sqlite:///mlruns/mlflow.db` below the current folder, artifacts beside it;
MLFLOW_TRACKING_URI overrides. Store and experiments are created under a file lock, once: several
processes that open a fresh SQLite store at the same time break each other's migration.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import re
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from filelock import FileLock

from core.addresses import shown, with_driver
from core.errors import InputError, MachineError
from core.tracking.delivery import complete
from core.tracking.find import find_run
from core.tracking.journal import Journal, Point
from core.tracking.mlflow_delete import Deletion
from core.tracking.mlflow_delivery import MlflowDelivery, server_id
from core.tracking.mlflow_run import MlflowRun
from core.tracking.mlflow_sql import SqlRuns, UnreadableError
from core.tracking.protocol import ALL, IDENTITY, NONE, Columns, RunRecord, Undelivered

log = logging.getLogger(__name__)
DEFAULT_FOLDER = "mlruns"
PAGE = 1000
SCHEMA = "database schema"  # what MLflow says of tables of another version
LOCK_SECONDS = 180  # a busy machine takes a while to make a store
# Quiet, quick to give up, and nothing sent home. Set before MLflow is imported.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def open_tracker(uri: str | None = None) -> MlflowTracker:
    """The tracker of `uri`, of MLFLOW_TRACKING_URI, or of ./mlruns.

    InputError for an address of a kind that cannot serve, MachineError for a store that cannot be
    opened or created.
    """
    chosen = with_driver(uri or os.environ.get("MLFLOW_TRACKING_URI") or "")
    if not chosen:
        chosen = f"sqlite:///{Path.cwd() / DEFAULT_FOLDER / 'mlflow.db'}"
    if not re.match(r"(sqlite|postgresql|mysql|https?)(\+\w+)?://", chosen):
        raise InputError(
            f"tracking URI {chosen!r}: MLflow no longer keeps runs in plain folders; use "
            f"sqlite:///PATH/mlflow.db or http://SERVER:PORT"
        )
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    return MlflowTracker(chosen)


def world_of(uri: str) -> Path:
    """The folder beside a store where everything else of ours lives."""
    if uri.startswith("sqlite:///"):
        return Path(uri.removeprefix("sqlite:///")).absolute().parent
    short = hashlib.sha256(uri.encode()).hexdigest()[:12]
    return Path.cwd() / DEFAULT_FOLDER / f"remote-{short}"


class MlflowTracker:
    """A store of runs in MLflow."""

    def __init__(self, uri: str) -> None:
        self.uri, self.world = uri, world_of(uri)
        self._embedded = uri.startswith("sqlite:///")
        try:
            self.world.mkdir(parents=True, exist_ok=True)
            if self._embedded:
                with FileLock(self.world / ".store.lock", timeout=LOCK_SECONDS):
                    self._prepare_sqlite()
        except OSError as error:
            raise MachineError(f"{self.world}: the store cannot be written ({error})") from None
        self._sql = SqlRuns(uri) if not uri.startswith("http") else None
        if self._sql is None or not self._sql.exists():
            _ = self._client
        self._experiment_ids: dict[str, str] = {}

    @functools.cached_property
    def _client(self) -> Any:
        """Opened when first needed: reading a store that exists does not wait for MLflow."""
        import mlflow  # noqa: F401 - takes seconds, so not while others wait for the lock

        if not self._embedded and (self._sql is None or self._sql.exists()):
            return self._open_store()  # nothing is made that others could break
        try:
            with FileLock(self.world / ".store.lock", timeout=LOCK_SECONDS):
                return self._open_store()
        except OSError as error:
            raise MachineError(f"{self.world}: the store cannot be written ({error})") from None

    def _open_store(self) -> Any:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        reached = self.world / ".reached"
        try:
            client = MlflowClient(tracking_uri=self.uri)
        except MlflowException as error:
            raise MachineError(self._unopened(error)) from None
        try:
            client.search_experiments(max_results=1)
        except MlflowException as error:
            # A server that has answered before is away for a while; another is a wrong address.
            if self._embedded or not reached.exists():
                raise MachineError(self._unopened(error)) from None
            log.warning("%s does not answer; what runs keep waits in %s", self.uri, self.world)
        else:
            reached.touch()
        return client

    def _unopened(self, error: Exception) -> str:
        if SCHEMA in str(error):
            return (
                f"{self.uri}: written by another version of MLflow. An older one: copy it, then "
                f"`mlflow db upgrade {self.uri}`; a newer one needs the MLflow that wrote it"
            )
        return f"{shown(self.uri)}: the store does not open ({_first(error)})"

    def _prepare_sqlite(self) -> None:
        path = Path(self.uri.removeprefix("sqlite:///"))
        if list(self.world.glob("[0-9]*/meta.yaml")) and not path.exists():
            raise InputError(
                f"{self.world}: holds runs of MLflow's old file store, which MLflow no longer "
                f"opens; move the folder away, or point MLFLOW_TRACKING_URI elsewhere"
            )
        try:
            connection = sqlite3.connect(path)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.close()
        except sqlite3.Error as error:
            raise MachineError(f"{path}: the store cannot be opened or written ({error})") from None

    # Writing.

    def start_run(
        self,
        experiment: str,
        name: str,
        *,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        parent_id: str | None = None,
        identity: str | None = None,
    ) -> MlflowRun:
        """See `Tracker`. Where the store is away the run begins under an id of ours."""
        from mlflow.exceptions import MlflowException

        if identity is not None:
            with contextlib.suppress(MachineError):
                for found in self.runs(experiment, tags={IDENTITY: identity}, columns=NONE):
                    known = self.continue_run(found.run_id)
                    known.log_params(params)  # whoever began it may have died before it did
                    return known
        identity = identity or uuid.uuid4().hex
        all_tags = {**tags, IDENTITY: identity}
        if parent_id:
            all_tags["mlflow.parentRunId"] = server_id(self.world, parent_id)
        try:
            created = self._client.create_run(
                self._experiment_id(experiment), run_name=name, tags=all_tags
            )
        except MlflowException as error:
            if self._embedded:
                words = f"{shown(self.uri)}: a run cannot be begun ({_first(error)})"
                raise MachineError(words) from None
            run = self._run(identity)
            run.begin(experiment, name, tags, parent_id)
        else:
            run = self._run(created.info.run_id)
        run.log_params(params)
        return run

    def continue_run(self, run_id: str) -> MlflowRun:
        """See `Tracker`."""
        run = self._run(run_id)
        run.go_on(() if self._journal_path(run_id).exists() else self._given(run_id))
        return run

    def _given(self, run_id: str) -> list[Point]:
        """What a run has been given, by whichever machine."""
        identity = server_id(self.world, run_id)
        with self._reading():
            keys = self._client.get_run(identity).data.metrics
            curves = [self._client.get_metric_history(identity, key) for key in keys]
        return [Point(m.key, m.value, m.timestamp, m.step) for curve in curves for m in curve]

    def _run(self, run_id: str) -> MlflowRun:
        return MlflowRun(self.world, run_id, self._delivery(run_id))

    def _delivery(self, run_id: str) -> MlflowDelivery:
        return MlflowDelivery(self._client, self.world, run_id, self._experiment_id)

    def sync(self, report: Callable[[int, int], None] = lambda done, total: None) -> Undelivered:
        """See `Tracker`."""
        waiting = self.undelivered()
        busy, away = [], dict[str, str]()
        for number, run_id in enumerate(waiting):
            report(number, len(waiting))
            path = self._journal_path(run_id)
            try:
                journal = Journal(path)
            except MachineError:
                busy.append(run_id)
                continue
            try:
                self._delivery(run_id).delivery(path).drain()
                shutil.rmtree(journal.spool, ignore_errors=True)
            except Exception as error:  # noqa: BLE001 - whatever the store's client raises
                away[run_id] = _first(error)
            finally:
                journal.close()
        return Undelivered(len(waiting) - len(busy) - len(away), tuple(busy), away)

    def undelivered(self) -> list[str]:
        """See `Tracker`."""
        found = sorted((self.world / "journal").glob("*.jsonl"))
        return [path.stem for path in found if not complete(path)]

    def _journal_path(self, run_id: str) -> Path:
        return self.world / "journal" / f"{run_id}.jsonl"

    def _experiment_id(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        client = self._client  # opening it takes the same lock
        if name not in self._experiment_ids:
            with FileLock(self.world / ".store.lock", timeout=LOCK_SECONDS):
                found = client.get_experiment_by_name(name)
                if found is None:
                    folder = (self.world / "artifacts").as_uri() if self._embedded else None
                    try:
                        client.create_experiment(name, artifact_location=folder)
                    except MlflowException as error:  # another machine may have been quicker
                        if error.error_code != "RESOURCE_ALREADY_EXISTS":
                            raise
                    found = client.get_experiment_by_name(name)
            self._experiment_ids[name] = found.experiment_id
        return self._experiment_ids[name]

    # Reading.

    def experiments(self) -> list[str]:
        """See `Tracker`."""
        if self._sql is not None:
            with contextlib.suppress(UnreadableError):
                return self._sql.experiments()
        with self._reading():
            found = self._client.search_experiments(max_results=PAGE)
        return sorted(experiment.name for experiment in found)

    def runs(
        self,
        experiment: str | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        columns: Columns = ALL,
    ) -> list[RunRecord]:
        """See `Tracker`."""
        if self._sql is not None:
            with contextlib.suppress(UnreadableError):
                return self._sql.read(experiment, tags or {}, columns)
        return self._search(experiment, tags or {})

    def _search(self, experiment: str | None, tags: Mapping[str, str]) -> list[RunRecord]:
        with self._reading():
            known = self._client.search_experiments(max_results=PAGE)
        found = {e.experiment_id: e.name for e in known}
        ids = [identity for identity, name in found.items() if experiment in (None, name)]
        if not ids:
            return []
        wanted = " and ".join(f"tags.`{k}` = '{v}'" for k, v in tags.items())
        records: list[RunRecord] = []
        token = None
        while True:
            with self._reading():
                page = self._client.search_runs(
                    ids, wanted, max_results=PAGE, page_token=token, order_by=["start_time ASC"]
                )
            records += [_record(run, found) for run in page]
            token = page.token
            if not token:
                return records

    def run(self, key: str) -> RunRecord:
        """See `Tracker`."""
        run_id = find_run(self.runs(columns=NONE), server_id(self.world, key)).run_id
        if self._sql is not None:
            with contextlib.suppress(UnreadableError):
                return self._sql.read(None, {}, run_ids=[run_id])[0]
        with self._reading():
            run = self._client.get_run(run_id)
        return _record(run, {run.info.experiment_id: self._experiment_name(run)})

    def _experiment_name(self, run: Any) -> str:
        return str(self._client.get_experiment(run.info.experiment_id).name)

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """See `Tracker`."""
        with self._reading():
            points = self._client.get_metric_history(server_id(self.world, run_id), metric)
        return sorted((point.step, point.value) for point in points)

    def artifact(self, run_id: str, path: str) -> Path:
        """See `Tracker`."""
        from mlflow.exceptions import MlflowException

        try:
            return Path(self._client.download_artifacts(server_id(self.world, run_id), path))
        except (MlflowException, OSError) as error:
            raise InputError(f"run {run_id}: no artifact {path!r} ({_first(error)})") from None

    def model(self, run_id: str) -> Path:
        """See `Tracker`."""
        import mlflow

        place = self._client.get_logged_model(self._model_id(run_id)).artifact_location
        folder = mlflow.artifacts.download_artifacts(artifact_uri=place, tracking_uri=self.uri)
        return next((Path(folder) / "artifacts").iterdir())  # the one folder logged with it

    def _model_id(self, run_id: str) -> str:
        with self._reading():
            found = self._client.get_run(server_id(self.world, run_id)).outputs
        models = found.model_outputs if found else []
        if not models:
            raise InputError(f"run {run_id} has no model (it may not have ended)")
        return str(models[-1].model_id)

    def register(self, run_id: str, name: str, description: str, tags: Mapping[str, str]) -> str:
        """See `Tracker`."""
        from mlflow.exceptions import MlflowException

        model_id = self._model_id(run_id)
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise InputError(f"--register {name}: {_first(error)}") from None
        # The place itself: MLflow looks a models:/ address up in the process's own store.
        place = self._client.get_logged_model(model_id).artifact_location
        made = self._client.create_model_version(
            name, place, server_id(self.world, run_id), dict(tags),
            description=description, model_id=model_id,
        )  # fmt: skip
        return str(made.version)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            words = f"{shown(self.uri)}: the store does not answer ({_first(error)})"
            raise MachineError(words) from None

    def link(self, experiment: str, run_id: str | None = None, artifact: str | None = None) -> str:
        """See `Tracker`."""
        with self._reading():
            page = f"#/experiments/{self._experiment_id(experiment)}/runs"
        page += f"/{server_id(self.world, run_id)}" if run_id else ""
        page += f"/artifacts/{artifact}" if artifact else ""
        return f"{page}?workflowType=machine_learning"

    def trash(self) -> Deletion:
        """What deletes runs."""
        return Deletion(self._client, self.uri, self.world)

    def sentences_link(self, experiment: str, sort: str, ascending: bool) -> str:
        """See `Tracker`."""
        asked = {
            "compareRunsMode": "ARTIFACT",
            "searchFilter": 'tags.level = "seed"',
            "orderByKey": f"metrics.`{sort}`",
            "orderByAsc": str(ascending).lower(),
        }
        return f"{self.link(experiment)}&{urlencode(asked, quote_via=quote)}"

    def store_view(
        self,
        experiment: str,
        metrics: Sequence[str],
        sort: str,
        ascending: bool,
        params: Sequence[str] = (),
    ) -> str:
        """See `Tracker`."""
        from core.tracking.mlflow_view import store_view

        identity = self._experiment_id(experiment)
        columns = [*(f"params.`{p}`" for p in params), *(f"metrics.`{m}`" for m in metrics)]
        key = store_view(self._client, identity, columns, f"metrics.`{sort}`", ascending)
        return f"{self.link(experiment)}&viewStateShareKey={key}"


def _record(run: Any, experiments: Mapping[str, str]) -> RunRecord:
    info, data = run.info, run.data
    return RunRecord(
        info.run_id,
        experiments[info.experiment_id],
        info.run_name or "",
        info.status,
        data.tags.get("mlflow.parentRunId"),
        data.tags,
        data.params,
        data.metrics,
        info.start_time,
        info.end_time,
    )


def _first(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
