"""Addresses of databases: as people write them, as SQLAlchemy takes them, as messages show them."""

from __future__ import annotations

from importlib.util import find_spec

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from core.errors import InputError

POSTGRESQL = "postgresql"
DRIVER = "psycopg"
INSTALL = "pip install 'textgan-lab[cluster]'"


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
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url
