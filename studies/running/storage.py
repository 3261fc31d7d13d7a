"""Where Optuna keeps a study's queue: SQLite beside the tracking store, PostgreSQL, its proxy, or a
journal.

`grpc://HOST:PORT` is a proxy in front of a database (`textgan proxy`): it keeps what it has read,
and one pool of connections serves hundreds of workers. `journal:///FOLDER/FILE` is a file in a
folder that several machines share, where there is no database.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from json import JSONDecodeError
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import optuna
from filelock import FileLock
from optuna.storages import BaseStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import func, make_url, select

from core.addresses import (
    INSTALL,
    POSTGRESQL,
    SQLITE,
    absolute,
    check_can_listen,
    has_host,
    shown,
    sqlite_engine,
    with_driver,
)
from core.errors import InputError, MachineError, first_line
from core.server_errors import in_words
from core.tracking.protocol import Tracker

HEARTBEAT_SECONDS = 60
GRACE_SECONDS = 180
MOST_RETRIES = 3  # of a job whose workers die; a fourth death is the job's fault
CONNECT_SECONDS = 20
PROXY_THREADS = 10
SCHEMA = "table schema"  # what Optuna says of tables of another version
PROXY, JOURNAL = "grpc://", "journal://"
BEAT = "beat"  # attribute of a running trial: seconds since 1970
# One connection for the work, one for the heartbeat: hundreds of workers share the server's limit.
ENGINE = {"pool_size": 1, "max_overflow": 3, "pool_pre_ping": True}
Retry = Callable[[optuna.Study, FrozenTrial], None]


class LockedStorage(RDBStorage):
    """Optuna on SQLite, which has no row locks: without a lock two workers that ask at the same
    moment are both handed the same waiting trial.
    """

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Change a trial's state while no other process does."""
        with FileLock(f"{make_url(self.url).database}.lock"):
            return super().set_trial_state_values(trial_id, state, values)


class AttributeBeats(BaseStorage, BaseHeartbeat):
    """Heartbeats of a storage that has none of its own: here they are attributes of trials.

    The clocks of the workers' machines must agree to less than the grace period.
    """

    _beats: bool

    def record_heartbeat(self, trial_id: int) -> None:
        """See `BaseHeartbeat`."""
        self.set_trial_user_attr(trial_id, BEAT, time.time())

    def get_heartbeat_interval(self) -> int | None:
        """See `BaseHeartbeat`."""
        return HEARTBEAT_SECONDS if self._beats else None

    def get_heartbeat_stale_trial_callback(self) -> Retry | None:
        """See `BaseHeartbeat`."""
        return RetryHeartbeatStaleTrialCallback(MOST_RETRIES) if self._beats else None

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        oldest = time.time() - GRACE_SECONDS
        running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        return [t._trial_id for t in running if t.user_attrs.get(BEAT, oldest) < oldest]


class ProxyStorage(optuna.storages.GrpcStorageProxy, AttributeBeats):
    """Optuna behind its proxy, which passes no heartbeats."""

    def __init__(self, host: str, port: int, beats: bool) -> None:
        super().__init__(host=host, port=port)
        self._beats = beats


class FileStorage(optuna.storages.JournalStorage, AttributeBeats):
    """Optuna's journal: one file, which several machines may share, and to which all append."""

    def __init__(self, file: Path, beats: bool) -> None:
        super().__init__(JournalFileBackend(str(file)))
        self._beats, self.folder = beats, file.parent


def storage_url(tracker: Tracker) -> str:
    """Optuna's storage beside the tracking store."""
    return f"{SQLITE}{tracker.store_dir / 'optuna.db'}"


def open_storage(url: str, *, beats: bool = True) -> BaseStorage:
    """Optuna's storage; `beats`: with heartbeats, so that a lost trial is tried again.

    InputError for an address that cannot be one, MachineError for a storage that does not open.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    if url.startswith(PROXY):
        return _open_proxy(url, beats)
    if url.startswith(JOURNAL):
        return _open_journal(Path(url.removeprefix(JOURNAL)), beats)
    if not re.match(r"(sqlite|postgres(ql)?|mysql)(\+\w+)?://", url):
        raise InputError(
            f"--storage {shown(url)}: must be postgresql://USER@HOST/DATABASE, grpc://HOST:PORT or "
            f"{JOURNAL}/FOLDER/FILE"
        )
    options: dict[str, Any] = {} if url.startswith(SQLITE) else {"engine_kwargs": ENGINE}
    if beats:
        options |= {
            "heartbeat_interval": HEARTBEAT_SECONDS,
            "grace_period": GRACE_SECONDS,
            "heartbeat_stale_trial_callback": RetryHeartbeatStaleTrialCallback(MOST_RETRIES),
        }
    made = LockedStorage if url.startswith(SQLITE) else RDBStorage
    address = sqlite_engine(with_driver(absolute(url)))
    try:
        return cast(BaseStorage, made(address, **options))
    except Exception as error:  # noqa: BLE001 - each SQL driver raises its own
        if SCHEMA in first_line(error):
            raise MachineError(
                f"{shown(url)}: written by another version of Optuna. An older one: copy it, then "
                f"`optuna storage upgrade --storage {shown(url)}`; a newer one needs the Optuna "
                f"that wrote it"
            ) from None
        raise MachineError(
            f"{shown(url)}: the study's storage does not open: {in_words(error)}"
        ) from None


def _open_proxy(url: str, beats: bool) -> BaseStorage:
    parts = urlsplit(url)
    if not has_host(url) or parts.port is None:
        raise InputError(f"--storage {url}: a proxy's address is {PROXY}HOST:PORT")
    try:
        storage = ProxyStorage(str(parts.hostname), parts.port, beats)
        storage.wait_server_ready(timeout=CONNECT_SECONDS)
    except ImportError:
        raise InputError(
            f"{url}: a proxy needs the extra packages of a cluster: {INSTALL}"
        ) from None
    except Exception:  # noqa: BLE001 - whatever gRPC raises
        raise MachineError(
            f"{url}: no proxy answers; start one with textgan proxy, or correct host and port"
        ) from None
    return storage


def _open_journal(file: Path, beats: bool) -> BaseStorage:
    if not file.is_absolute() or not file.parent.is_dir() or file.is_dir():
        raise InputError(
            f"--storage {JOURNAL}{file}: must be {JOURNAL}/FOLDER/FILE, a file in a folder that "
            f"exists and that all machines share"
        )
    try:
        return FileStorage(file, beats)
    except JSONDecodeError:
        raise MachineError(
            f"{file}: not a journal of Optuna that opens: line {_damaged_line(file)} is not JSON. "
            f"If a machine lost power while it wrote, remove that line; its change is lost"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MachineError(
            f"{file}: not a journal of Optuna that opens ({first_line(error)})"
        ) from None


def _damaged_line(file: Path) -> int:
    """The number of the first line that is not JSON, or else of the last."""
    number = 0
    with file.open("rb") as lines:
        for line in lines:
            number += 1
            try:
                json.loads(line)
            except ValueError:
                return number
    return number


@contextlib.contextmanager
def alone(storage: BaseStorage, name: str, store_dir: Path) -> Iterator[None]:
    """While no other process is here for what has this name: a lock of the database where it has
    one, else a file beside the journal or the tracking store. Not to be entered twice.
    """
    key = zlib.crc32(name.encode())
    backend = getattr(storage, "_backend", storage)  # behind Optuna's cache
    engine = getattr(backend, "engine", None)
    if engine is None or engine.dialect.name != POSTGRESQL:
        with FileLock(getattr(storage, "folder", store_dir) / f".plan-{key:08x}.lock"):
            yield
        return
    with engine.connect() as connection:
        connection.execute(select(func.pg_advisory_lock(key)))
        try:
            yield
        finally:
            connection.execute(select(func.pg_advisory_unlock(key)))


def serve_proxy(url: str, host: str, port: int, ready: Callable[[], None]) -> None:
    """Optuna's own proxy in front of a database, until interrupted; `ready` is called before."""
    from concurrent.futures import ThreadPoolExecutor

    if url.startswith((SQLITE, PROXY)):
        raise InputError(
            f"--storage {url}: a proxy needs a database, such as postgresql://USER@HOST/DATABASE"
        )
    check_can_listen(host, port)
    storage = optuna.storages.get_storage(open_storage(url, beats=False))
    try:
        ready()
        with ThreadPoolExecutor(PROXY_THREADS) as threads:
            optuna.storages.run_grpc_proxy_server(
                storage, host=host, port=port, thread_pool=threads
            )
    except ImportError:
        raise InputError(f"a proxy needs the extra packages of a cluster: {INSTALL}") from None
    except RuntimeError as error:
        raise MachineError(f"{host}:{port}: the proxy cannot listen there ({error})") from None
