"""A real PostgreSQL server on loopback, in a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.servers import free_port

USER = "textgan"
NOT_ROOT = "nobody"  # PostgreSQL refuses to be run by root
START_SECONDS = 120


def postgresql_folder() -> Path | None:
    """Where the server's commands are; Debian keeps them out of PATH, one folder a version."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@contextmanager
def postgresql(commands: Path, connections: int = 100) -> Iterator[str]:
    """The address of a server, without a database's name."""
    port = free_port()
    # Not below the test's own folder, which only its user may enter.
    with tempfile.TemporaryDirectory(prefix="textgan-postgresql-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        data = folder / "data"
        data.mkdir()
        as_user: list[str] = []
        if os.getuid() == 0:
            shutil.chown(data, NOT_ROOT)
            as_user = ["runuser", "-u", NOT_ROOT, "--"]
        made = [*as_user, str(commands / "initdb"), "-D", str(data), "-A", "trust", "-U", USER,
                "--no-sync", "-E", "UTF8", "--locale=C"]  # fmt: skip
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL, cwd=folder)
        options = {"fsync": "off", "max_connections": str(connections), "listen_addresses":
                   "127.0.0.1", "unix_socket_directories": ""}  # fmt: skip
        settings = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*as_user, str(commands / "postgres"), "-D", str(data), "-p", str(port), *settings],
                stdout=log, stderr=log, cwd=folder,
            )  # fmt: skip
        try:
            _wait(lambda: _accepts(port), process, folder / "log")
            yield f"postgresql://{USER}@127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def create_database(server: str, name: str) -> str:
    """The address of a new database."""
    import psycopg

    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return f"{server}/{name}"


def _wait(ready: object, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while not ready():  # type: ignore[operator]
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(log.read_text()[-2000:])
        time.sleep(0.1)


def _accepts(port: int) -> bool:
    import psycopg

    try:
        psycopg.connect(f"postgresql://{USER}@127.0.0.1:{port}/postgres", connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def user_exists() -> bool:
    """Whether there is somebody to run PostgreSQL as."""
    try:
        pwd.getpwnam(NOT_ROOT)
    except KeyError:
        return os.getuid() != 0
    return True
