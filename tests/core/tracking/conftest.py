"""A real MLflow server for the tests of deletions and outages; it takes 6 s to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.servers import mlflow_server


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Its port."""
    with mlflow_server(tmp_path_factory.mktemp("server")) as port:
        yield port
