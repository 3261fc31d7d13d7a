"""Hands a journal to the store, in order, each item once, whenever the store answers.

One thread a run reads the journal from a cursor and delivers batches; while the store is away it
tries again, ever less often. Memory holds one batch, however long that takes. The cursor moves
after the store has answered, so a kill in between delivers a batch twice; what is delivered is such
that twice is the same as once (`core.tracking.mlflow_delivery`). What a store refuses for good is
put aside in a file of its own, and named.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from core.tracking.journal import Entry, Item, Point, items, payload

BATCH = 1000  # values a call takes
RETRY_SECONDS = 2.0  # doubled at each failure
LONGEST_RETRY = 30.0
LONGEST_NUMBER = 20  # characters of a cursor
log = logging.getLogger(__name__)


class Refused(Exception):  # noqa: N818 - an answer, not a failure of ours
    """The store will never take this."""


class Delivery:
    """Where a journal's delivery stands. `points` and `entry` deliver, or raise."""

    def __init__(
        self,
        path: Path,
        points: Callable[[Sequence[Point]], None],
        entry: Callable[[Entry, Path | None], None],
    ) -> None:
        self._path, self._points, self._entry = path, points, entry
        self._cursor_file = path.with_suffix(".cursor")
        self._cursor = _cursor(path)
        self.abandoned = False

    @property
    def complete(self) -> bool:
        """Whether the store has everything."""
        return complete(self._path)

    def drain(self) -> None:
        """Deliver all that is there; whatever the store's client raises comes through."""
        while not self._given_up() and (batch := self._next_batch()):
            found, self._next = batch
            self._deliver(found)
            if self._given_up():  # somebody else may be delivering by now
                return
            self._cursor = self._next
            _write_whole(self._cursor_file, str(self._cursor))
            for item in found:
                if isinstance(item, Entry) and (place := payload(self._path, item)):
                    shutil.rmtree(place.parent, ignore_errors=True)

    def _given_up(self) -> bool:
        return self.abandoned

    def _next_batch(self) -> tuple[list[Item | None], int] | None:
        """Consecutive points together, anything else alone, and where they end."""
        batch: list[Item | None] = []
        end = self._cursor
        for item, after in islice(items(self._path, self._cursor), BATCH):
            if batch and not (isinstance(item, Point) and isinstance(batch[-1], Point)):
                break
            batch.append(item)
            end = after
        return (batch, end) if batch else None

    def _deliver(self, batch: list[Item | None]) -> None:
        first = batch[0]
        try:
            if isinstance(first, Entry):
                self._entry(first, payload(self._path, first))
            elif isinstance(first, Point):
                self._points([item for item in batch if isinstance(item, Point)])
            else:
                self._put_aside(None, "not an entry of a journal")
        except Refused as refusal:
            if len(batch) == 1:
                self._put_aside(first, str(refusal))
                return
            half = len(batch) // 2
            self._deliver(batch[:half])
            self._deliver(batch[half:])

    def _put_aside(self, item: Item | None, why: str) -> None:
        place = self._path.with_suffix(".refused")
        if not place.exists():
            log.warning("the store refuses a value (%s); kept in %s", why, place)
        if isinstance(item, Entry) and (sent := payload(self._path, item)) and sent.exists():
            kept = self._path.with_suffix(".refused-files") / sent.parent.name
            shutil.rmtree(kept, ignore_errors=True)
            kept.parent.mkdir(exist_ok=True)
            sent.parent.rename(kept)
        line = json.dumps({"why": why, "item": None if item is None else asdict(item)})
        with place.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def complete(path: Path) -> bool:
    """Whether all of the journal at this path was delivered."""
    return next(items(path, _cursor(path)), None) is None


class Courier:
    """The thread of one run that is being written."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._wake, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="courier", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There is something new."""
        self._wake.set()

    def wait(self, seconds: float) -> bool:
        """End the thread: wait at most `seconds`, where the store is away only for one more
        attempt. Whether the store has everything.
        """
        self._closing.set()
        self._wake.set()
        self._thread.join(seconds)
        self._delivery.abandoned = True
        return not self._thread.is_alive() and self._delivery.complete

    def _work(self) -> None:
        pause, away = RETRY_SECONDS, False
        while True:
            self._wake.wait()
            self._wake.clear()
            last = self._closing.is_set()
            try:
                self._delivery.drain()
            except Exception as error:  # noqa: BLE001 - whatever the store's client raises
                if not away:
                    log.warning("the store does not answer, values wait here (%s)", _first(error))
                if last:
                    return
                away = True
                self._closing.wait(pause)
                pause = min(2 * pause, LONGEST_RETRY)
                self._wake.set()
                continue
            if away:
                log.warning("the store answers again, and has everything so far")
            pause, away = RETRY_SECONDS, False
            if last:
                return


def _first(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _cursor(path: Path) -> int:
    """Bytes of the journal at `path` that were delivered; 0 where nobody says it, or what is said
    is damaged or beyond its end: what is delivered again is there once.
    """
    try:
        with path.with_suffix(".cursor").open("rb") as opened:
            said = int(opened.read(LONGEST_NUMBER))
        return said if 0 <= said <= path.stat().st_size else 0
    except (OSError, ValueError):
        return 0


def _write_whole(file: Path, text: str) -> None:
    temporary = file.with_name(file.name + ".writing")
    temporary.write_text(text)
    temporary.replace(file)
