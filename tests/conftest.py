"""Shared: one thread for torch, a store of each test's own, sizes that train in a blink."""

from __future__ import annotations

import gc
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy
import torch
from alembic.config import Config as AlembicConfig
from alembic.script import ScriptDirectory

from core.config import Config, override, parse, read_toml
from core.process import look_less_for_garbage, usable_cores
from experiments.single_run.evaluator import Evaluator, Values
from studies.figures import save
from variants import registry

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "experiments" / "smoke" / "run.toml"
DATA = Path(os.environ.get("TEXTGAN_DATA", ROOT.parent / "shared" / "data"))
os.environ.pop("COLUMNS", None)  # pytest-xdist makes its processes 80 columns wide
MOST_WORKERS = 4
look_less_for_garbage()  # as commands do
MEMORY_OF_A_WORKER = 2e9  # bytes; torch, MLflow and now and then a server or a browser


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Test processes: the cores that this process may use, as far as memory allows."""
    room = int(psutil.virtual_memory().available // MEMORY_OF_A_WORKER)
    return max(1, min(usable_cores(), room, MOST_WORKERS))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that none of them begins when the others have ended."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    """What the imports have made is there to stay: looking for garbage in it, over and over, takes
    a twentieth of the time of the tests.
    """
    gc.freeze()


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def _leave_writing_to_the_system(connection: Any, _: object) -> None:
    """Waiting for the disk at each commit is a quarter of what these tests take. It guards against
    a machine that loses its power, and none of them cuts it.
    """
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")


@pytest.fixture(scope="session")
def _new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first new database of a test process is kept."""
    return tmp_path_factory.mktemp("database") / "new.db"


@pytest.fixture(autouse=True)
def _new_databases_are_copies(monkeypatch: pytest.MonkeyPatch, _new_database: Path) -> None:
    """MLflow makes a new database by all migrations of its history, a second of CPU time for each
    test with a store. They are done once; other new SQLite databases are copies of the result.
    """
    utils = sys.modules.get("mlflow.store.db.utils")
    if utils is None:  # MLflow is not imported yet, which takes seconds too
        return
    migrate = utils._initialize_tables

    def initialise(engine: sqlalchemy.Engine) -> None:
        is_first = not _new_database.exists()
        if engine.url.get_backend_name() != "sqlite" or is_first:
            migrate(engine)
        if engine.url.get_backend_name() == "sqlite":
            kept, connection = sqlite3.connect(_new_database), engine.raw_connection()
            with closing(kept), closing(connection):
                own: Any = connection.driver_connection
                own.backup(kept) if is_first else kept.backup(own)

    monkeypatch.setattr(utils, "_initialize_tables", initialise)


@pytest.fixture(autouse=True, scope="session")
def _migrations_are_read_once() -> Iterator[None]:
    """MLflow and Optuna execute the files of all their migrations whenever a database is opened."""
    from_config, read = ScriptDirectory.from_config, dict[str, ScriptDirectory]()

    def once(config: AlembicConfig) -> ScriptDirectory:
        folder = str(config.get_main_option("script_location"))
        if folder not in read:
            read[folder] = from_config(config)
        return read[folder]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", once)
        yield


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees another's store, folder or random state."""
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(autouse=True, scope="session")
def _files_of_figures_are_not_written() -> Iterator[None]:
    """Drawing a run's curves takes a third of a tiny run, and saving a report's figures in three
    formats most of its time. The tests of these pages do it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments.single_run.session.log_curves", lambda record: None)
        patch.setattr("studies.report.save", lambda _, folder, *__: folder.mkdir(exist_ok=True))
        yield


@pytest.fixture(autouse=True, scope="session")
def _scores_of_real_text_are_kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A store keeps the scores of real text and of n-gram models for all runs on a corpus. A new
    store takes them from those before.
    """
    folder, kept = tmp_path_factory.mktemp("kept"), Evaluator._kept

    def keep(own: Evaluator, store_dir: Path, name: str, compute: Callable[[], Values]) -> Values:
        known = partial(kept, own, folder, name, compute) if name == "scores" else compute
        return kept(own, store_dir, name, known)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Evaluator, "_kept", keep)
        yield


@pytest.fixture
def figure_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that look at the files of a report's figures."""
    monkeypatch.setattr("studies.report.save", save)


def tiny(*overrides: str) -> Config:
    """The smoke configuration, smaller."""
    tables = override(
        read_toml(SMOKE),
        [
            "model.length=8",
            "train.batch_size=4",
            "train.updates=4",
            "evaluation.every=2",
            "evaluation.sentences=20",
            "evaluation.references=20",
            "evaluation.gradients=0",
            "corpus.difficulty=easy",
            "corpus.sentences=300",
            *overrides,
        ],
    )
    return parse(tables, registry(), "tiny")
