"""The journal of a run: a local file that receives everything before the store does.

One file of JSON lines per run, append-only; `core.tracking.delivery` sends it to the store. A
training step therefore waits at most for one line in a file, and the next process delivers what a
dead one left. Only the process that holds the journal's lock writes it.

    {"format": 2}                                   the first line (journals of format 1 have none)
    ["train/generator_loss", 0.5, 1700000000000, 3] key, value, milliseconds, step
    {"do": "tags", "values": {"outcome": "ok"}}     any other entry
    {"do": "artifact", "path": "samples.json", "file": "1234/samples.json"}

Files to be uploaded wait in a folder next to the journal (the spool), each under the number of its
entry. A newer version of an artifact replaces one that has not been uploaded yet.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from core.errors import InputError, MachineError

FORMAT = 2
NOTE = ".path"  # file next to a waiting artifact: its path in the run
LONGEST_LINE = 10_000_000  # bytes; no line that we write is longer


@dataclass(frozen=True)
class Point:
    """One value of one metric; time in milliseconds."""

    key: str
    value: float
    time: int
    step: int


@dataclass(frozen=True)
class Entry:
    """Anything else: the action `do` with its arguments `content`."""

    do: str
    content: Mapping[str, Any]


Item = Point | Entry


class BusyError(MachineError):
    """Another process writes the run."""


class Journal:
    """The journal of one run, open for writing; MachineError if another process has it open."""

    def __init__(self, path: Path) -> None:
        self.path, self.spool = path, path.with_suffix("")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path.with_suffix(".lock"))
            self._lock.acquire(timeout=0)
        except Timeout:
            raise BusyError(f"run {path.stem} is being written by another process") from None
        except OSError as error:
            raise MachineError(f"{path}: cannot be written ({error.strerror})") from None
        # Ascending steps of each metric: eight bytes per value.
        self._steps: dict[str, array[int]] = {}
        cut_unfinished_line(path)
        for item, _ in items(path):
            if isinstance(item, Point):
                self._is_new(item.key, item.step)
        self._file = path.open("ab", buffering=0)
        if self._size() == 0:
            self._write(json.dumps({"format": FORMAT}) + "\n")

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Append values of one step, at the present time; see `points`."""
        moment = now()
        self.points(Point(key, float(value), moment, step) for key, value in values.items())

    def points(self, points: Iterable[Point]) -> None:
        """Append points; a metric that has a value at a step keeps it."""
        if fresh := [_line(point) for point in points if self._is_new(point.key, point.step)]:
            self._write("".join(fresh))

    def entry(self, do: str, **content: Any) -> None:
        """Append an entry that is not a metric."""
        self._write(json.dumps({"do": do, **content}) + "\n")

    def file(self, do: str, name: str, make: Callable[[Path], object], **content: Any) -> None:
        """Append an entry with a file or folder, which `make` creates at the path it is given."""
        number = self._size()
        place = self.spool / str(number) / name
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            make(place)
        except OSError as error:
            shutil.rmtree(place.parent, ignore_errors=True)
            raise MachineError(f"{place}: cannot be written ({error.strerror})") from None
        self.entry(do, file=f"{number}/{name}", **content)

    def replace_file(self, path: str, make: Callable[[Path], object]) -> None:
        """Append the artifact `path` and drop its versions that were not uploaded yet."""
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise InputError(f"{path}: an artifact's path stays below its run's")

        def make_with_note(place: Path) -> None:
            make(place)
            (place.parent / NOTE).write_text(path, encoding="utf-8")

        name = Path(path).name
        waiting = list(self.spool.glob(f"*/{name}")) if self.spool.exists() else []
        older = [p.parent for p in waiting if _note_of(p.parent) == path]
        self.file("artifact", name, make_with_note, path=path)
        for folder in older:
            shutil.rmtree(folder, ignore_errors=True)

    def persist(self) -> None:
        """Return when everything written so far is on disk."""
        os.fsync(self._file.fileno())

    def history(self, key: str) -> list[tuple[int, float]]:
        """All (step, value) of one metric, by step."""
        prefix = (json.dumps([key])[:-1] + ",").encode()  # of its lines, as `_line` writes them
        points = (item for item, _ in items(self.path, prefix=prefix) if isinstance(item, Point))
        return sorted((point.step, point.value) for point in points if point.key == key)

    def at(self, step: int, start: str) -> list[Point]:
        """The values of one step of all metrics whose names start so."""
        prefix = json.dumps([start])[:-2].encode()
        points = (item for item, _ in items(self.path, prefix=prefix) if isinstance(item, Point))
        return [point for point in points if point.step == step]

    def close(self) -> None:
        """Release the journal to other processes."""
        self._file.close()
        self._lock.release()

    def _is_new(self, key: str, step: int) -> bool:
        steps = self._steps.setdefault(key, array("q"))
        place = len(steps) if not steps or step > steps[-1] else bisect_left(steps, step)
        if place < len(steps) and steps[place] == step:
            return False
        steps.insert(place, step)
        return True

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def _write(self, text: str) -> None:
        """Append whole, or not at all."""
        before = self._size()
        data = text.encode()
        why = "no space left"
        try:
            written = self._file.write(data)
        except OSError as error:
            written, why = 0, str(error.strerror)
        if written != len(data):
            self._file.truncate(before)
            raise MachineError(f"{self.path}: cannot be written ({why})")


def now() -> int:
    """The present time in milliseconds since 1970."""
    return int(time.time() * 1000)


def _line(point: Point) -> str:
    return json.dumps([point.key, point.value, point.time, point.step]) + "\n"


def journal_path(store_dir: Path, run_id: str) -> Path:
    """The journal of a run."""
    return store_dir / "journal" / f"{run_id}.jsonl"


def items(path: Path, start: int = 0, prefix: bytes = b"[") -> Iterator[tuple[Item | None, int]]:
    """The complete lines of a journal from byte `start` on, each with the byte after it; None for
    an invalid line. Points whose lines do not start with `prefix` are skipped without parsing: a
    long run has millions. MachineError for the format of a later version.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(start)
        while (line := file.readline(LONGEST_LINE)).endswith(b"\n"):
            if line.startswith(b"[") and not line.startswith(prefix):
                continue
            found = parse(line)
            if isinstance(found, int):
                if found > FORMAT:
                    raise MachineError(
                        f"{path}: journal format {found}, this version reads up to {FORMAT}"
                    )
                continue
            yield found, file.tell()


def parse(line: bytes) -> Item | int | None:
    """A journal's line: an item, the format number of the first line, or None if it is invalid."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    match found:
        case [str(key), float() | int() as value, int(moment), int(step)]:
            return Point(key, float(value), moment, step) if _fits(value, moment, step) else None
        case {"format": int(version)} if len(found) == 1:
            return version
        case {"do": str(do)}:
            return Entry(do, {key: value for key, value in found.items() if key != "do"})
    return None


def _fits(value: float, *whole: int) -> bool:
    """Whether a store accepts the numbers: a value that fits a float, and 64-bit integers."""
    try:
        float(value)
    except OverflowError:
        return False
    return all(-(2**63) <= number < 2**63 for number in whole)


def payload(path: Path, entry: Entry) -> Path | None:
    """The path of an entry's file; None without one, and for a name that leaves the spool."""
    spool = path.with_suffix("")
    name = entry.content.get("file")
    if not isinstance(name, str) or "\0" in name:
        return None
    place = (spool / name).resolve()
    return place if place.parent.parent == spool.resolve() else None


def _note_of(folder: Path) -> str | None:
    try:
        return (folder / NOTE).read_text(encoding="utf-8")
    except OSError:
        return None


def cut_unfinished_line(path: Path) -> None:
    """Remove a last line that a kill cut short."""
    if not path.exists() or path.stat().st_size == 0:  # an empty file cannot be mapped
        return
    with path.open("rb+") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            size, end = len(content), content.rfind(b"\n") + 1
        if end < size:
            file.truncate(end)
