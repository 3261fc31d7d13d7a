"""Metrics on their way to the store: a local file first, the store when it answers.

Values are appended to a JSON-lines journal; one thread reads it from a cursor and sends batches.
So the training step waits for a line in a file at most, memory stays bounded however long the
store is away, and what was not delivered when a process died is delivered by the next. A batch
sent twice is stored once, since key, value, time and step are the journal's.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

BATCH = 1000  # values a call takes
RETRY_SECONDS = 2.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Point:
    """One value of one metric; time in milliseconds."""

    key: str
    value: float
    time: int
    step: int


Send = Callable[[list[Point]], None]


class Journal:
    """The journal of one run. `send` delivers a batch or raises."""

    def __init__(self, path: Path, send: Send) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._cursor_path, self._send = path, path.with_suffix(".cursor"), send
        self._known = {(p.key, p.step) for p in _repaired(path)}
        self._file = path.open("a", encoding="utf-8")
        self._cursor = int(self._cursor_path.read_text()) if self._cursor_path.exists() else 0
        self._wake, self._closing, self._idle = (threading.Event() for _ in range(3))
        self._thread = threading.Thread(target=self._deliver, name="journal", daemon=True)
        self._thread.start()

    def append(self, values: Mapping[str, float], step: int) -> None:
        """Write values of one step; a metric that has a value at this step keeps it."""
        now = int(time.time() * 1000)
        fresh = {key: value for key, value in values.items() if (key, step) not in self._known}
        for key, value in fresh.items():
            self._file.write(json.dumps([key, float(value), now, step]) + "\n")
            self._known.add((key, step))
        self._file.flush()
        self._idle.clear()
        self._wake.set()

    def close(self, seconds: float) -> bool:
        """Wait at most `seconds` for delivery; False when some values only the journal has."""
        self._closing.set()
        self._wake.set()
        self._thread.join(seconds)
        self._file.close()
        return self._idle.is_set()

    def _deliver(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            try:
                while self._deliver_batch():
                    pass
                self._idle.set()
                if self._closing.is_set():
                    return
            except Exception as error:  # noqa: BLE001 - whatever the store's client raises
                log.debug("the store does not answer, will try again: %s", error)
                if self._closing.wait(RETRY_SECONDS):
                    time.sleep(RETRY_SECONDS / 10)
                self._wake.set()

    def _deliver_batch(self) -> bool:
        points = []
        with self._path.open("rb") as file:
            file.seek(self._cursor)
            for _ in range(BATCH):
                line = file.readline()
                if not line.endswith(b"\n"):
                    break
                points.append(Point(*json.loads(line)))
                self._cursor_next = file.tell()
        if not points:
            return False
        self._send(points)
        self._cursor = self._cursor_next
        self._cursor_path.write_text(str(self._cursor))
        return True


def _repaired(path: Path) -> list[Point]:
    """The points of a journal; a last line that a kill cut short is removed from the file."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) != len(content):
        path.write_bytes(whole)
    return [Point(*json.loads(line)) for line in whole.splitlines()]
