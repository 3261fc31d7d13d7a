"""Addresses of databases: as people write them, as SQLAlchemy takes them, as messages show them."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from core.errors import InputError

SQLITE = "sqlite:///"
# The options are the last part, so that a folder's name may hold `?`.
SQLITE_ADDRESS = re.compile(r"sqlite:///(?P<path>.+?)(?P<options>\?\w+=[^/?]*)?", flags=re.DOTALL)
POSTGRESQL = "postgresql"
DRIVER = "psycopg"
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
