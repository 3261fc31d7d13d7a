"""Where the artifacts of an embedded store are: in its own folder, whatever its database says.

MLflow stores absolute locations. After a move they point to a folder that is gone, and in a copy
they point into the original. They are therefore compared with the folder of the database whenever
a store is opened, and rewritten in one transaction.
"""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

ARTIFACTS = "artifacts"
LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
SQLITE_HEADER = b"SQLite format 3\0"
SECONDS = 60  # to wait for another process that writes


def local_path(location: str) -> Path | None:
    """The path of an artifact location; None for one that is no file's."""
    if location.startswith("file:"):
        return Path(unquote(urlsplit(location).path))
    return None if re.match(r"[\w.+-]+:", location) else Path(location)


def is_below(place: Path | None, folder: Path, *, follow: bool) -> bool:
    """Whether a path is below `folder`. With `follow`, symbolic links on the way to it count as the
    folders that they point to.
    """
    if place is None or ".." in place.parts:
        return False
    if follow:
        folder, place = folder.resolve(), place.parent.resolve() / place.name
    return folder in place.parents


def other_stores(database: Path) -> list[str]:
    """Names of MLflow's other databases in the folder: copies that share its artifacts."""
    found = []
    for file in sorted(database.parent.iterdir()):
        if file.is_file() and file != database and _starts_as_database(file):
            with closing(sqlite3.connect(file, timeout=SECONDS)) as connection:
                if connection.execute("PRAGMA table_info(experiments)").fetchall():
                    found.append(file.name)
    return found


def _starts_as_database(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(SQLITE_HEADER)) == SQLITE_HEADER


def repair(database: Path, store_dir: Path) -> list[str]:
    """Rewrite the locations that point to an earlier folder of this store, or to its original, as
    locations in `store_dir`; the old folders.

    Locations that somebody else has chosen stay as they are.
    """
    with closing(sqlite3.connect(database, timeout=SECONDS, isolation_level=None)) as connection:
        if not connection.execute("PRAGMA table_info(experiments)").fetchall():
            return []
        old = _old_folders(connection, database.name, store_dir)
        unused = _unused_default(connection, store_dir)
        if not old and not unused:
            return []
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            for folder in old:
                _rewrite(connection, folder, store_dir.as_uri())
            if unused:
                place = (store_dir / ARTIFACTS).as_uri()
                connection.execute(
                    "UPDATE experiments SET artifact_location = ? WHERE experiment_id = 0", [place]
                )
    return old


def _old_folders(connection: sqlite3.Connection, name: str, store_dir: Path) -> list[str]:
    """Folders of stores, as written in the database, whose artifacts are now in `store_dir`.

    Such a folder has no artifacts any more, or it has a database (it is the original), or runs of
    its experiments have theirs here.
    """
    found = []
    for (location,) in connection.execute("SELECT DISTINCT artifact_location FROM experiments"):
        place = local_path(location or "")
        if place is None or place.name != ARTIFACTS or _is_same(place.parent, store_dir):
            continue
        gone, original = not _is_there(place), _is_there(place.parent / name)
        if gone or original or _holds_runs(connection, location, store_dir):
            found.append(location.removesuffix(f"/{ARTIFACTS}"))
    return found


def _is_there(path: Path) -> bool:
    return os.access(path, os.F_OK)


def _is_same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _holds_runs(connection: sqlite3.Connection, location: str, store_dir: Path) -> bool:
    runs = connection.execute(
        "SELECT run_uuid FROM runs JOIN experiments USING (experiment_id) "
        "WHERE artifact_location = ?",
        [location],
    )
    return any((store_dir / ARTIFACTS / run_id).is_dir() for (run_id,) in runs)


def _unused_default(connection: sqlite3.Connection, store_dir: Path) -> bool:
    """Whether MLflow's default experiment has no runs and a location elsewhere: MLflow puts it into
    the current folder of the process that creates the database.
    """
    found = connection.execute(
        "SELECT artifact_location FROM experiments WHERE experiment_id = 0 "
        "AND NOT EXISTS (SELECT 1 FROM runs WHERE experiment_id = 0)"
    ).fetchone()
    place = local_path(found[0] or "") if found else None
    return place is not None and not _is_same(place.parent, store_dir)


def _rewrite(connection: sqlite3.Connection, old: str, new: str) -> None:
    """Replace the folder `old` by `new` in every location; MLflow writes it as a URI or a path."""
    for table, column in LOCATIONS:
        known = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        for start in {f"{old}/", f"{local_path(old)}/"} if column in known else ():
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 - our names
                f"WHERE substr({column}, 1, ?) = ? AND substr({column}, 1, ?) <> ?",
                [f"{new}/", len(start) + 1, len(start), start, len(new) + 1, f"{new}/"],
            )
