"""Addresses of databases and servers: as people write them, as SQLAlchemy takes them, as messages
show them, and whether a server can listen at one.
"""

from __future__ import annotations

import re
import socket
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, urlsplit

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from core.errors import InputError, MachineError

SQLITE = "sqlite:///"
# The options are the last part, so that a folder's name may hold `?`.
SQLITE_ADDRESS = re.compile(r"sqlite:///(?P<path>.+?)(?P<options>\?\w+=[^/?]*)?", flags=re.DOTALL)
POSTGRESQL = "postgresql"
DRIVER = "psycopg"
FIRST_OPEN = 1024  # ports below are for the system
PORTS_TRIED = 100  # in search of a free one
INSTALL = "pip install 'textgan-lab[cluster]'"


def sqlite_file(url: str) -> Path | None:
    """The absolute path of the file of an SQLite address; None for any other address.

    The path is taken as it is written: `%20` in it is no space.
    """
    found = SQLITE_ADDRESS.fullmatch(url)
    return Path(found["path"]).absolute() if found else None


def absolute(url: str) -> str:
    """The address with an absolute path if it is that of an SQLite file.

    InputError for an SQLite address that names no file.
    """
    if not url.startswith("sqlite:"):
        return url
    found = SQLITE_ADDRESS.fullmatch(url)
    if found is None or found["path"].startswith((":memory:", "file:")):
        raise InputError(f"{url}: names no file; use {SQLITE}PATH/FILE.db")
    return f"{SQLITE}{sqlite_file(url)}{found['options'] or ''}"


def sqlite_engine(url: str) -> str:
    """An SQLite address as SQLAlchemy, and with it MLflow and Optuna, takes it: percent-encoded,
    where that matters. MLflow would create the folder of an encoded path; not if a driver is named.
    """
    found = SQLITE_ADDRESS.fullmatch(url)
    if found is None or not re.search("[%?{}]", found["path"]):
        return url
    return f"sqlite+pysqlite:///{quote(found['path'])}{found['options'] or ''}"


def with_driver(url: str) -> str:
    """The address with the driver that we bring for PostgreSQL, unless another is named; any other
    address as it is.

    InputError where the driver is not installed.
    """
    scheme, separator, rest = url.partition("://")
    if scheme not in (POSTGRESQL, "postgres"):
        return url
    if find_spec(DRIVER) is None:
        raise InputError(
            f"{shown(url)}: PostgreSQL needs the extra packages of a cluster: {INSTALL}"
        )
    return f"{POSTGRESQL}+{DRIVER}{separator}{rest}"


def shown(url: str) -> str:
    """The address without its password."""
    if url.startswith(SQLITE):
        return url  # has none, and its path is no address to decode
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url


def has_host(url: str) -> bool:
    """Whether a URL names a host, and a port that there can be if it names one."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def check_can_listen(host: str, port: int) -> None:
    """MachineError unless a server can listen at `host` and `port`; it names the next free port."""
    try:
        _listen(host, port)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]
        first = max(port + 1, FIRST_OPEN)
        free = next((p for p in range(first, first + PORTS_TRIED) if _is_free(host, p)), None)
        if free is None:  # no port will do, so it is the host
            raise MachineError(
                f"--host {host}: cannot listen at this address ({reason}); give one of this "
                f"machine, such as 127.0.0.1"
            ) from None
        raise MachineError(
            f"--port {port}: cannot listen on it ({reason}); --port {free} is free"
        ) from None


def _is_free(host: str, port: int) -> bool:
    try:
        _listen(host, port)
    except (OSError, OverflowError):
        return False
    return True


def _listen(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    socket.create_server((host, port), family=family).close()
