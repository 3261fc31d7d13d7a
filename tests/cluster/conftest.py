"""Servers of the tests marked `cluster`: started once, stopped at the end."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.addresses import with_driver
from tests.chaos.servers import mlflow_server
from tests.cluster.servers import (
    create_database,
    postgresql,
    postgresql_folder,
    user_exists,
)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    commands = postgresql_folder()
    if commands is None or not user_exists():
        pytest.skip("needs a PostgreSQL server (Debian: apt-get install postgresql)")
    pytest.importorskip("psycopg", reason="needs the extra packages of a cluster: make setup")
    with postgresql(commands, connections=150) as address:
        yield address


@pytest.fixture
def database(postgresql_server: str) -> Callable[[], str]:
    """Makes databases that nobody else uses; their addresses."""
    return lambda: create_database(postgresql_server, f"t{uuid.uuid4().hex[:12]}")


@pytest.fixture(scope="session")
def mlflow_address(
    postgresql_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """An MLflow server on PostgreSQL, artifacts through its proxy."""
    folder: Path = tmp_path_factory.mktemp("mlflow")
    database = with_driver(create_database(postgresql_server, "mlflow"))
    with mlflow_server(folder, database) as port:
        yield f"http://127.0.0.1:{port}"
