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
import shutil
import sqlite3
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from filelock import FileLock

from core.addresses import SQLITE, shown, sqlite_engine, sqlite_file
from core.errors import InputError, MachineError
from core.server_errors import in_words
from core.tracking.locations import ARTIFACTS, is_below, local_path, other_stores, repair
from core.tracking.mlflow_delivery import ABSENT, deletion

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


def store_dir_of(uri: str) -> Path:
    """The folder next to a store: checkpoints, corpora, journals and studies' queues."""
    if file := sqlite_file(uri):
        return file.parent
    short = hashlib.sha256(uri.encode()).hexdigest()[:12]
    return Path.cwd() / DEFAULT_FOLDER / f"remote-{short}"


class MlflowStore:
    """A store at an address. MachineError where it cannot be opened or created.

    An embedded store, a database in a folder, keeps its artifacts in that folder. If the folder
    cannot be written, a temporary copy of the database is read.
    """

    def __init__(self, uri: str) -> None:
        for key, value in ENVIRONMENT.items():
            os.environ.setdefault(key, value)
        self.uri, self.store_dir = uri, store_dir_of(uri)
        self.address = sqlite_engine(uri)  # as SQLAlchemy and MLflow take it
        self._file = sqlite_file(uri)
        self.embedded = self._file is not None
        self.read_only = self._file is not None and _is_read_only(self._file)
        try:
            if self._file is not None and self.read_only:
                self._copy_sqlite(self._file)
            else:
                self.store_dir.mkdir(parents=True, exist_ok=True)
                if self._file is not None:
                    with self._lock():
                        self._prepare_sqlite(self._file)
        except OSError as error:
            raise self._unwritable(error) from None
        except sqlite3.Error as error:
            message = f"{self._file}: the store cannot be opened or written ({error})"
            raise MachineError(message) from None
        self._experiment_ids: dict[str, str] = {}

    def _lock(self) -> contextlib.AbstractContextManager[object]:
        if self.read_only:
            return contextlib.nullcontext()
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
            client = MlflowClient(tracking_uri=self.address)
        except MlflowException as error:
            raise self._not_opened(error) from None
        try:
            client.search_experiments(max_results=1)
        except MlflowException as error:
            # A server that has answered before is only away; another one is a wrong address.
            if self.embedded or not reached.exists():
                raise self._not_opened(error) from None
            log.warning(
                "%s does not answer; runs keep their data in %s", shown(self.uri), self.store_dir
            )
        else:
            if self._file is None:
                reached.touch()
            elif not self.read_only:
                self._repair(self._file)
        return client

    def _not_opened(self, error: Exception) -> MachineError:
        if SCHEMA in str(error):
            return MachineError(
                f"{shown(self.uri)}: written by another version of MLflow. An older one: copy it, "
                f"then `mlflow db upgrade {shown(self.address)}`; a newer one needs the MLflow "
                f"that wrote it"
            )
        return MachineError(f"{shown(self.uri)}: the store does not open: {in_words(error)}")

    def _prepare_sqlite(self, file: Path) -> None:
        if is_file_store(self.store_dir) and not file.exists():
            raise InputError(
                f"{self.store_dir}: holds runs of MLflow's old file store, which MLflow no longer "
                f"opens; move the folder away, or point MLFLOW_TRACKING_URI elsewhere"
            )
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        self._repair(file)

    def _repair(self, file: Path) -> None:
        for old in repair(file, self.store_dir):
            log.warning("the store was moved or copied; its artifacts are in %s now (were in %s)",
                        self.store_dir, local_path(old))  # fmt: skip

    def _copy_sqlite(self, file: Path) -> None:
        """Open a copy of the database: reading it where it is would need files next to it."""
        folder = Path(tempfile.mkdtemp(prefix="textgan-store-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        copy = folder / file.name
        try:
            source = sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)
            with contextlib.closing(source), contextlib.closing(sqlite3.connect(copy)) as target:
                source.backup(target)
        except sqlite3.OperationalError:  # no process has it open
            for suffix in ("", "-wal"):
                if (part := file.with_name(file.name + suffix)).exists():
                    shutil.copyfile(part, folder / part.name)
        repair(copy, self.store_dir)
        self.address = sqlite_engine(f"{SQLITE}{copy}")

    def check_writable(self) -> None:
        """MachineError for a store that can only be read."""
        if self.read_only:
            raise MachineError(f"{self.store_dir}: the store is read-only here")

    def check_alone(self) -> None:
        """InputError if another store has its artifacts in the folder too."""
        if self._file is not None and (others := other_stores(self._file)):
            raise InputError(
                f"{self.store_dir}: {others[0]} keeps its artifacts here too; nothing is removed "
                f"before it is moved to another folder"
            )

    def check_location(self, what: str, location: str) -> None:
        """InputError for artifacts outside the folder of an embedded store."""
        if self.embedded and not is_below(local_path(location), self.store_dir, follow=False):
            raise InputError(
                f"{what} keeps its artifacts in {location}, outside the store ({self.store_dir}); "
                f"nothing is written there"
            )

    def experiment_of(self, name: str, parent: str | None) -> str:
        """The id of the experiment of a new run: that of its parent run, whatever it is called by
        now, else the one of this name.
        """
        from mlflow.exceptions import MlflowException

        if parent is not None:
            with contextlib.suppress(MlflowException):
                info = self.client.get_run(parent).info
                self.check_location(f"run {parent[:8]}", info.artifact_uri)
                return str(info.experiment_id)
        self._experiment_ids.pop(name, None)  # it may have been deleted since
        return self.experiment_id(name)

    def experiment_id(self, name: str) -> str:
        """The id of an experiment, which is created if it does not exist; DeletedError if it is
        deleted.
        """
        from mlflow.exceptions import MlflowException

        client = self.client  # opening it takes the same lock
        if name not in self._experiment_ids:
            with self._lock():
                found = client.get_experiment_by_name(name)
                if found is None:
                    self.check_writable()
                    folder = (self.store_dir / ARTIFACTS).as_uri() if self.embedded else None
                    try:
                        client.create_experiment(name, artifact_location=folder)
                    except MlflowException as error:  # another machine may have created it
                        if error.error_code != "RESOURCE_ALREADY_EXISTS":
                            raise
                    found = client.get_experiment_by_name(name)
            if found.lifecycle_stage == "deleted":
                raise deletion("experiment", name)
            self.check_location(f"experiment {name!r}", found.artifact_location)
            self._experiment_ids[name] = found.experiment_id
        return self._experiment_ids[name]

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Raise what MLflow raises in the block as MachineError."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            message = f"{shown(self.uri)}: the store does not answer: {in_words(error)}"
            raise MachineError(message) from None


def is_file_store(folder: Path) -> bool:
    """Whether a folder holds runs of MLflow's old file store."""
    return any(folder.glob("[0-9]*/meta.yaml"))


def _is_read_only(file: Path) -> bool:
    """Whether a store exists and this process may not write it."""
    return file.exists() and not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK))


def pages(search: Callable[..., Any], *arguments: Any, **options: Any) -> Iterator[Any]:
    """All results of one of the client's searches, whatever their number."""
    page = search(*arguments, max_results=PAGE, **options)
    yield from page
    while page.token:
        page = search(*arguments, max_results=PAGE, page_token=page.token, **options)
        yield from page


def ui_command(
    uri: str, store_dir: Path, port: int, host: str = LOOPBACK[0], names: Sequence[str] = ()
) -> tuple[list[str], dict[str, str]]:
    """The command that opens the UI, and its environment; InputError if the store is a server.

    One worker and no job runner. `names` are host names that requests may use besides `host` and
    loopback. Other names are refused, because a web page can send a browser's requests to this
    machine under a name of its own (DNS rebinding).
    """
    if uri.startswith("http"):
        raise InputError(f"the store is a server already; open {shown(uri)} in a browser")
    allowed = ",".join(f"{name}:{port}" for name in dict.fromkeys((*LOOPBACK, host, *names)))
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", sqlite_engine(uri),
               "--artifacts-destination", (store_dir / ARTIFACTS).as_uri(), "--host", host,
               "--port", str(port), "--workers", "1", "--allowed-hosts", allowed,
               "--uvicorn-opts", "--log-level=warning"]  # not a line for each request  # fmt: skip
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
    return command, {**os.environ, **ENVIRONMENT, **quiet}


def logged_models(client: Any, run: Any) -> list[Any]:
    """The models of a run that the store still has: MLflow keeps the names of removed ones."""
    from mlflow.exceptions import MlflowException

    found = []
    for output in run.outputs.model_outputs if run.outputs else []:
        try:
            found.append(client.get_logged_model(output.model_id))
        except MlflowException as error:
            if error.error_code != ABSENT:
                raise
    return found
