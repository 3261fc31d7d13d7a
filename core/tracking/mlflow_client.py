"""Opens an MLflow store: its client, its directory, its experiments, and its UI.

A store and its experiments are created under a file lock: several processes that open a new SQLite
store at the same time break each other's migration.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from core.addresses import shown
from core.errors import InputError, MachineError, first_line

log = logging.getLogger(__name__)
DEFAULT_FOLDER = "mlruns"
PAGE = 1000  # rows per request
SCHEMA = "database schema"  # in MLflow's message about tables of another version
LOCK_SECONDS = 180  # creating a store takes long on a busy machine
LOOPBACK = ("127.0.0.1", "localhost")
# No output, short timeouts, no telemetry. Set before MLflow is imported.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
UI_ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def store_dir_of(uri: str) -> Path:
    """The folder next to a store: checkpoints, corpora, journals and studies' queues."""
    if uri.startswith("sqlite:///"):
        return Path(uri.removeprefix("sqlite:///")).absolute().parent
    short = hashlib.sha256(uri.encode()).hexdigest()[:12]
    return Path.cwd() / DEFAULT_FOLDER / f"remote-{short}"


class MlflowStore:
    """A store at an address. MachineError where it cannot be opened or created."""

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
            raise self._unwritable(error) from None
        self._experiment_ids: dict[str, str] = {}

    def _lock(self) -> FileLock:
        return FileLock(self.store_dir / ".store.lock", timeout=LOCK_SECONDS)

    def _unwritable(self, error: OSError) -> MachineError:
        return MachineError(f"{self.store_dir}: the store cannot be written ({error})")

    @functools.cached_property
    def client(self) -> Any:
        """MLflow's client, opened on first use: importing MLflow takes seconds."""
        import mlflow  # noqa: F401 - slow, so before the lock that others wait for

        if self.uri.startswith("http"):
            return self._open_client()  # creates nothing
        try:
            with self._lock():
                return self._open_client()
        except OSError as error:
            raise self._unwritable(error) from None

    def _open_client(self) -> Any:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        reached = self.store_dir / ".reached"
        try:
            client = MlflowClient(tracking_uri=self.uri)
        except MlflowException as error:
            raise self._not_opened(error) from None
        try:
            client.search_experiments(max_results=1)
        except MlflowException as error:
            # A server that has answered before is only away; another one is a wrong address.
            if self.embedded or not reached.exists():
                raise self._not_opened(error) from None
            log.warning("%s does not answer; runs keep their data in %s", self.uri, self.store_dir)
        else:
            reached.touch()
        return client

    def _not_opened(self, error: Exception) -> MachineError:
        if SCHEMA in str(error):
            return MachineError(
                f"{self.uri}: written by another version of MLflow. An older one: copy it, then "
                f"`mlflow db upgrade {self.uri}`; a newer one needs the MLflow that wrote it"
            )
        return MachineError(f"{shown(self.uri)}: the store does not open ({first_line(error)})")

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
        """The id of an experiment, which is created if it does not exist."""
        from mlflow.exceptions import MlflowException

        client = self.client  # opening it takes the same lock
        if name not in self._experiment_ids:
            with self._lock():
                found = client.get_experiment_by_name(name)
                if found is None:
                    folder = (self.store_dir / "artifacts").as_uri() if self.embedded else None
                    try:
                        client.create_experiment(name, artifact_location=folder)
                    except MlflowException as error:  # another machine may have created it
                        if error.error_code != "RESOURCE_ALREADY_EXISTS":
                            raise
                    found = client.get_experiment_by_name(name)
            self._experiment_ids[name] = found.experiment_id
        return self._experiment_ids[name]

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Raise what MLflow raises in the block as MachineError."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            message = f"{shown(self.uri)}: the store does not answer ({first_line(error)})"
            raise MachineError(message) from None


def ui_command(
    uri: str, store_dir: Path, port: int, host: str = LOOPBACK[0], names: Sequence[str] = ()
) -> tuple[list[str], dict[str, str]]:
    """The command that opens the UI, and its environment; InputError if the store is a server.

    One worker and no job runner. `names` are host names that requests may use besides `host` and
    loopback. Other names are refused, because a web page can send a browser's requests to this
    machine under a name of its own (DNS rebinding).
    """
    if uri.startswith("http"):
        raise InputError(f"the store is a server already; open {uri} in a browser")
    allowed = ",".join(f"{name}:{port}" for name in dict.fromkeys((*LOOPBACK, host, *names)))
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri,
               "--artifacts-destination", str(store_dir / "artifacts"), "--host", host,
               "--port", str(port), "--workers", "1", "--allowed-hosts", allowed]  # fmt: skip
    return command, {**os.environ, **UI_ENVIRONMENT}
