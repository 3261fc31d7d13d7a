"""A store of MLflow's, opened: its client, the folder beside it, its experiments.

Store and experiments are created under a file lock, once: several processes that open a fresh
SQLite store at the same time break each other's migration.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from core.addresses import shown
from core.errors import InputError, MachineError
from core.tracking.mlflow_sql import SqlRuns

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


def store_dir_of(uri: str) -> Path:
    """The folder next to a store: checkpoints, corpora, journals and studies' queues."""
    if uri.startswith("sqlite:///"):
        return Path(uri.removeprefix("sqlite:///")).absolute().parent
    short = hashlib.sha256(uri.encode()).hexdigest()[:12]
    return Path.cwd() / DEFAULT_FOLDER / f"remote-{short}"


class MlflowStore:
    """An address, opened when first needed. MachineError where it cannot be opened or created."""

    def __init__(self, uri: str) -> None:
        for key, value in ENVIRONMENT.items():
            os.environ.setdefault(key, value)
        self.uri, self.store_dir = uri, store_dir_of(uri)
        self.embedded = uri.startswith("sqlite:///")
        try:
            self.store_dir.mkdir(parents=True, exist_ok=True)
            if self.embedded:
                with self._lock():
                    self._prepare_sqlite()
        except OSError as error:
            raise MachineError(f"{self.store_dir}: the store cannot be written ({error})") from None
        self.sql = SqlRuns(uri) if not uri.startswith("http") else None
        if self.sql is None or not self.sql.exists():
            _ = self.client
        self._experiment_ids: dict[str, str] = {}

    def _lock(self) -> FileLock:
        return FileLock(self.store_dir / ".store.lock", timeout=LOCK_SECONDS)

    @functools.cached_property
    def client(self) -> Any:
        """Opened when first needed: reading a store that exists does not wait for MLflow."""
        import mlflow  # noqa: F401 - takes seconds, so not while others wait for the lock

        if not self.embedded and (self.sql is None or self.sql.exists()):
            return self._open_store()  # nothing is made that others could break
        try:
            with self._lock():
                return self._open_store()
        except OSError as error:
            raise MachineError(f"{self.store_dir}: the store cannot be written ({error})") from None

    def _open_store(self) -> Any:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        reached = self.store_dir / ".reached"
        try:
            client = MlflowClient(tracking_uri=self.uri)
        except MlflowException as error:
            raise MachineError(self._unopened(error)) from None
        try:
            client.search_experiments(max_results=1)
        except MlflowException as error:
            # A server that has answered before is away for a while; another is a wrong address.
            if self.embedded or not reached.exists():
                raise MachineError(self._unopened(error)) from None
            log.warning("%s does not answer; what runs keep waits in %s", self.uri, self.store_dir)
        else:
            reached.touch()
        return client

    def _unopened(self, error: Exception) -> str:
        if SCHEMA in str(error):
            return (
                f"{self.uri}: written by another version of MLflow. An older one: copy it, then "
                f"`mlflow db upgrade {self.uri}`; a newer one needs the MLflow that wrote it"
            )
        return f"{shown(self.uri)}: the store does not open ({first_line(error)})"

    def _prepare_sqlite(self) -> None:
        path = Path(self.uri.removeprefix("sqlite:///"))
        if list(self.store_dir.glob("[0-9]*/meta.yaml")) and not path.exists():
            raise InputError(
                f"{self.store_dir}: holds runs of MLflow's old file store, which MLflow no longer "
                f"opens; move the folder away, or point MLFLOW_TRACKING_URI elsewhere"
            )
        try:
            connection = sqlite3.connect(path)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.close()
        except sqlite3.Error as error:
            raise MachineError(f"{path}: the store cannot be opened or written ({error})") from None

    def experiment_id(self, name: str) -> str:
        """The id of an experiment, which is made if there is none."""
        from mlflow.exceptions import MlflowException

        client = self.client  # opening it takes the same lock
        if name not in self._experiment_ids:
            with self._lock():
                found = client.get_experiment_by_name(name)
                if found is None:
                    folder = (self.store_dir / "artifacts").as_uri() if self.embedded else None
                    try:
                        client.create_experiment(name, artifact_location=folder)
                    except MlflowException as error:  # another machine may have been quicker
                        if error.error_code != "RESOURCE_ALREADY_EXISTS":
                            raise
                    found = client.get_experiment_by_name(name)
            self._experiment_ids[name] = found.experiment_id
        return self._experiment_ids[name]

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """What MLflow raises while it is asked, as MachineError in a line."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            words = f"{shown(self.uri)}: the store does not answer ({first_line(error)})"
            raise MachineError(words) from None


def first_line(error: Exception) -> str:
    """What an error says, in a line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
