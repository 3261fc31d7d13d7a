"""Queues in memory: most tests of studies are not about the database that holds the queue."""

from __future__ import annotations

from collections.abc import Iterator

import optuna
import pytest

ON_DISK = (
    "test_studies",
    "test_life",
    "test_journal_file",
)  # modules whose queues are in SQLite, as in the product


@pytest.fixture(autouse=True, scope="module")
def _queues_in_memory(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.module.__name__.rpartition(".")[2] in ON_DISK:
        yield
        return
    storages: dict[str, optuna.storages.BaseStorage] = {}

    def in_memory(url: str, *, beats: bool = True) -> optuna.storages.BaseStorage:
        return storages.setdefault(url, optuna.storages.InMemoryStorage())

    with pytest.MonkeyPatch.context() as patch:
        for module in ("queue", "proposals", "execute"):
            patch.setattr(f"studies.running.{module}.open_storage", in_memory)
        yield
