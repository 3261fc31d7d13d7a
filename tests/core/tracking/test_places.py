"""A store is where its database is: moved, copied, read-only, and in folders with any name."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from core.addresses import sqlite_file
from core.errors import InputError, MachineError
from core.tracking import mlflow_client
from core.tracking.locations import is_below, local_path
from core.tracking.mlflow_store import MlflowTracker, existing_tracker, open_tracker
from core.tracking.protocol import Leftover
from experiments.cli import status
from studies.running.storage import open_storage, storage_url

HOSTILE = "a%20b%41?c#d {x} ü"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store with a run that has an artifact and a registered model, and the run's id."""
    folder = tmp_path_factory.mktemp("original") / "mlruns"
    (folder / "g").mkdir(parents=True)
    (folder / "g" / "weights").write_bytes(b"123")
    tracker = open_tracker(f"sqlite:///{folder}/mlflow.db")
    run = tracker.start_run("study", "one", params={}, tags={})
    run.log_text("hello", "hello.txt")
    run.log_model(folder / "g")
    run.finish("ok")
    tracker.register(run.run_id, "writer", "what it is", {})
    return folder, run.run_id


@pytest.fixture
def store(template: tuple[Path, str], tmp_path: Path) -> tuple[Path, str]:
    """The same store, moved to a folder of the test's own and opened there."""
    folder = tmp_path / "first" / "mlruns"
    shutil.copytree(template[0], folder)
    _open(folder).store.client.search_experiments()
    return folder, template[1]


def _open(folder: Path) -> MlflowTracker:
    return open_tracker(f"sqlite:///{folder}/mlflow.db")


def _files(folder: Path) -> dict[str, bytes]:
    """All files but SQLite's own, and the rows of the database."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        rows = "\n".join(connection.iterdump()).encode()
    kept = {str(file): file.read_bytes() for file in folder.rglob("*")
            if file.is_file() and not file.name.startswith("mlflow.db")}  # fmt: skip
    return {**kept, "rows": rows}


def _check_used(folder: Path, run_id: str) -> None:
    """Read the run, continue it, add another, delete and purge the first one."""
    tracker = _open(folder)
    assert tracker.artifact(run_id, "hello.txt").read_text() == "hello"
    assert (tracker.model(run_id) / "weights").read_bytes() == b"123"
    version = tracker.store.client.get_model_version_download_uri("writer", "1")
    assert is_below(local_path(version), folder, follow=False)
    again = tracker.continue_run(run_id)
    again.log_text("changed", "hello.txt")
    again.finish("ok")
    other = tracker.start_run("study", "two", params={}, tags={})
    other.log_text("new", "new.txt")
    other.finish("ok")
    assert (folder / "artifacts" / other.run_id / "artifacts" / "new.txt").read_text() == "new"
    assert tracker.register(run_id, "writer", "again", {}) == "2"
    trash = tracker.trash()
    trash.mark([run_id])
    [leftover] = trash.leftovers()
    assert leftover.size > 0
    trash.purge(leftover)
    assert not (folder / "artifacts" / run_id).exists()


@pytest.mark.parametrize("place", ["../second/mlruns", "backup"])
def test_a_copy_is_not_its_original(
    store: tuple[Path, str], place: str, caplog: pytest.LogCaptureFixture
) -> None:
    original, run_id = store
    copy = original / place
    shutil.copytree(original, copy)
    before = {name: content for name, content in _files(original).items()
              if not name.startswith(str(copy))}  # fmt: skip
    caplog.clear()
    _check_used(copy.resolve(), run_id)
    assert [record.message for record in caplog.records if "moved or copied" in record.message]
    caplog.clear()
    after = _files(original)
    assert {name: after[name] for name in before} == before
    assert _open(original).artifact(run_id, "hello.txt").read_text() == "hello"
    assert not caplog.records, "each is at home now"


@pytest.mark.parametrize(
    ("name", "written"), [("second", False), (HOSTILE, False), ("second", True)]
)
def test_a_moved_store_works(
    store: tuple[Path, str], name: str, written: bool, tmp_path: Path
) -> None:
    """Also if an earlier version has written to the old folder after the move."""
    old, run_id = store
    new = tmp_path / name / "mlruns"
    new.parent.mkdir()
    old.rename(new)
    if written:
        (old / "artifacts" / "another").mkdir(parents=True)
    with closing(sqlite3.connect(new / "mlflow.db")) as connection:
        assert str(old) in "\n".join(connection.iterdump())
    _open(new)
    with closing(sqlite3.connect(new / "mlflow.db")) as connection:
        assert str(old) not in "\n".join(connection.iterdump())
    _check_used(new, run_id)
    assert {str(each) for each in old.rglob("*")} == {
        str(old / each) for each in ("artifacts", "artifacts/another") if written
    }
    assert {each.name for each in tmp_path.iterdir()} == {"first", name}


def test_a_link_to_a_store_is_the_store(
    store: tuple[Path, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, run_id = store
    (tmp_path / "link").symlink_to(folder)
    caplog.clear()
    assert _open(tmp_path / "link").artifact(run_id, "hello.txt").read_text() == "hello"
    assert not caplog.records


def test_artifacts_outside_the_store_are_neither_written_nor_removed(
    store: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = store
    tracker, outside = _open(folder), tmp_path / "team" / "artifacts"
    outside.mkdir(parents=True)
    client = tracker.store.client
    theirs = client.create_experiment("theirs", artifact_location=outside.as_uri())
    run = client.create_run(theirs).info
    file = outside / run.run_id / "artifacts" / "kept.txt"
    file.parent.mkdir(parents=True)
    file.write_text("kept")
    again = _open(folder)  # leaves a location that somebody has chosen
    with pytest.raises(InputError, match="outside the store"):
        again.start_run("theirs", "one", params={}, tags={})
    with pytest.raises(InputError, match="outside the store"):
        again.continue_run(run.run_id)
    client.delete_run(run.run_id)
    again.trash().purge(Leftover(run.run_id, "theirs", 0, known=True))
    assert file.read_text() == "kept"


def test_a_run_that_was_restored_meanwhile_is_not_removed(store: tuple[Path, str]) -> None:
    folder, run_id = store
    trash = _open(folder).trash()
    trash.mark([run_id])
    [listed] = trash.leftovers()
    trash.restore([run_id])
    trash.purge(listed)
    assert (folder / "artifacts" / run_id / "artifacts" / "hello.txt").exists()
    assert _open(folder).run(run_id)


def test_a_run_whose_model_is_gone_is_listed_deleted_and_removed(store: tuple[Path, str]) -> None:
    folder, run_id = store
    tracker = _open(folder)
    (output,) = tracker.store.client.get_run(run_id).outputs.model_outputs
    tracker.store.client.delete_logged_model(output.model_id)
    with pytest.raises(InputError, match="has no model"):
        tracker.model(run_id)
    trash = tracker.trash()
    trash.mark([run_id])
    [listed] = trash.leftovers()
    trash.purge(listed)
    assert not (folder / "artifacts" / run_id).exists()
    trash.purge(listed)  # a second time there is nothing left to do


def test_a_model_whose_files_are_gone_gets_words(store: tuple[Path, str]) -> None:
    folder, run_id = store
    tracker = _open(folder)
    shutil.rmtree(tracker.model(run_id).parent)
    with pytest.raises(InputError, match="its model cannot be read"):
        tracker.model(run_id)


def test_what_a_link_leads_to_is_not_removed(store: tuple[Path, str], tmp_path: Path) -> None:
    folder, run_id = store
    (folder / "artifacts").rename(tmp_path / "disk")
    (folder / "artifacts").symlink_to(tmp_path / "disk")
    trash = _open(folder).trash()
    trash.mark([run_id])
    for leftover in trash.leftovers():
        trash.purge(leftover)
    assert (tmp_path / "disk" / run_id / "artifacts" / "hello.txt").exists()


def test_two_databases_share_no_garbage(
    store: tuple[Path, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, run_id = store
    shutil.copyfile(folder / "mlflow.db", folder / "before.bak")
    before = _files(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    assert status(["runs", "gc", "-y"]) == 2
    assert "before.bak keeps its artifacts here too" in " ".join(capsys.readouterr().err.split())
    assert _files(folder) == before
    (folder / "before.bak").unlink()
    assert status(["runs", "gc", "-y"]) == 0
    assert (folder / "artifacts" / run_id).exists()


@pytest.mark.parametrize(
    ("place", "inside"),
    [("a/b", True), ("a", False), ("a/../b", False), ("ab/c", False), ("", False)],
)
def test_below(place: str, inside: bool, tmp_path: Path) -> None:
    assert is_below(tmp_path / place, tmp_path / "a", follow=True) is inside
    assert is_below(tmp_path / place, tmp_path / "a", follow=False) is inside


# Any name, any place.


@pytest.mark.parametrize(
    "address", [None, "sqlite:///mlruns/mlflow.db", "sqlite:///{}/mlruns/mlflow.db?timeout=30"]
)
def test_a_store_is_made_in_its_folder_whatever_its_name(
    address: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / HOSTILE
    folder.mkdir()
    monkeypatch.chdir(folder)
    tracker = open_tracker(address and address.replace("{}", str(folder)))
    assert tracker.store_dir == folder / "mlruns"
    (folder / "g").mkdir()
    run = tracker.start_run("study", "one", params={}, tags={})
    run.log_text("hello", "hello.txt")
    run.log_model(folder / "g") if address is None else None
    run.finish("ok")
    assert not list((folder / "mlruns" / "journal").glob("*.refused"))
    assert open_tracker(tracker.uri).artifact(run.run_id, "hello.txt").read_text() == "hello"
    assert len(open_storage(storage_url(tracker)).get_all_studies()) == 0
    assert {each.name for each in tmp_path.iterdir()} == {HOSTILE}
    assert {each.name for each in folder.iterdir()} == {"g", "mlruns"}
    databases = {each.name for each in (folder / "mlruns").glob("*.db*")}
    assert databases >= {"mlflow.db", "optuna.db"}
    assert all("?" not in name for name in databases)


def test_the_address_of_a_file() -> None:
    assert sqlite_file("sqlite:////a%20b?c/x.db?timeout=30&uri=1") == Path("/a%20b?c/x.db")
    assert sqlite_file("sqlite:///x?y.db") == Path.cwd() / "x?y.db"
    assert sqlite_file("postgresql://host/x") is None
    for wrong in ("sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file:x.db?uri=true"):
        with pytest.raises(InputError, match="names no file"):
            open_tracker(wrong)


# A store that can only be read.


@pytest.fixture
def read_only(store: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that this process may not write, of a store that is gone. Root may write everything,
    so the answer of the system is replaced.
    """
    folder = tmp_path / "archive" / "mlruns"
    folder.parent.mkdir()
    store[0].rename(folder)
    real = os.access
    monkeypatch.setattr(
        os, "access",
        lambda path, mode: not (mode & os.W_OK and is_below(Path(path), tmp_path, follow=False))
        and real(path, mode),
    )  # fmt: skip
    return folder


def test_a_read_only_store_can_be_read(read_only: Path, store: tuple[Path, str]) -> None:
    before = {str(file): file.stat().st_mtime_ns for file in read_only.parent.rglob("*")}
    tracker = existing_tracker(f"sqlite:///{read_only}/mlflow.db")
    assert tracker.read_only
    assert [run.run_id for run in tracker.runs("study")] == [store[1]]
    assert tracker.artifact(store[1], "hello.txt").read_text() == "hello"
    assert (tracker.model(store[1]) / "weights").read_bytes() == b"123"
    assert tracker.link("study", store[1])
    for write in (
        lambda: tracker.start_run("study", "two", params={}, tags={}),
        lambda: tracker.continue_run(store[1]),
        lambda: tracker.register(store[1], "writer", "", {}),
        tracker.trash,
        tracker.sync,
    ):
        with pytest.raises(MachineError, match="read-only"):
            write()
    assert {str(file): file.stat().st_mtime_ns for file in read_only.parent.rglob("*")} == before


def test_what_was_written_last_is_read(read_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the log of a killed writer remains and a connection needs a file next to it."""
    with closing(sqlite3.connect(read_only / "mlflow.db")) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("UPDATE runs SET name = 'renamed'")
        writer.commit()
        real = sqlite3.connect

        def connect(database: object, **options: object) -> sqlite3.Connection:
            if "mode=ro" in str(database):
                raise sqlite3.OperationalError("unable to open database file")
            return real(database, **options)  # type: ignore[call-overload, no-any-return]

        monkeypatch.setattr(mlflow_client.sqlite3, "connect", connect)
        assert _open(read_only).runs("study")[0].name == "renamed"


# A folder without a store.


@pytest.mark.parametrize(
    "command",
    ["runs", "runs compare a b", "runs delete a", "runs restore a", "runs gc", "report a",
     "sample a", "sweep a", "rate a --results", "reproduce a", "run --resume a",
     "study a --resume", "worker a", "ui", "sync", "doctor"],
)  # fmt: skip
def test_no_store_is_made_where_one_is_read(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = status(command.split())
    out, err = capsys.readouterr()
    assert code == (0 if command == "doctor" else 2)
    assert "there is no store in" in " ".join((out + err).split())
    assert not list(tmp_path.iterdir())
