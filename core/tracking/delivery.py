"""Delivers a journal to the store: in order, each item once, as soon as the store answers.

One thread per run reads the journal from a cursor and sends batches. While the store does not
answer, it retries with growing pauses; memory holds one batch. The cursor advances after the store
has answered, so a kill in between sends a batch twice; the entries are idempotent
(`core.tracking.mlflow_delivery`). An item that the store rejects goes to a `.refused` file. What
is written to a deleted run waits, because the run may be restored.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Protocol

from core.errors import DeletedError
from core.files import write_atomically
from core.server_errors import in_words
from core.tracking.journal import Entry, Item, Point, items, payload

BATCH = 1000  # values per call
RETRY_SECONDS = 2.0  # doubled at each failure
LONGEST_RETRY = 30.0
CURSOR_DIGITS = 20
WHOLE = ("begin", "status")  # a store that refuses one of these does not have the run
log = logging.getLogger(__name__)


class RefusedError(Exception):
    """The store will never accept this item."""


class Receiver(Protocol):
    """The store's side of a delivery."""

    def points(self, points: Sequence[Point]) -> None:
        """Store values; RefusedError if the store will never accept one of them."""

    def entry(self, entry: Entry, file: Path | None) -> None:
        """Apply any other entry, with its file if it has one; RefusedError as above."""


class Delivery:
    """Sends the journal at `path` to `receiver`."""

    def __init__(self, path: Path, receiver: Receiver) -> None:
        self.path, self._receiver = path, receiver
        self._cursor_file = path.with_suffix(".cursor")
        self._cursor = _cursor(path)
        self._abandoned = threading.Event()
        self.rejected: str | None = None  # why the store refused the run itself

    def abandon(self) -> None:
        """Send no further batch: another process may deliver from now on."""
        self._abandoned.set()

    def drain(self) -> None:
        """Deliver everything in the journal; raises what the store's client raises."""
        while not self._abandoned.is_set() and (found := self._next_batch()):
            batch, end = found
            self._deliver(batch)
            if self._abandoned.is_set():
                return
            self._cursor = end
            write_atomically(self._cursor_file, str(end))
            for item in batch:
                if isinstance(item, Entry) and (file := payload(self.path, item)):
                    shutil.rmtree(file.parent, ignore_errors=True)

    def _next_batch(self) -> tuple[list[Item | None], int] | None:
        """Consecutive points, or one other item, and the byte where the batch ends."""
        batch: list[Item | None] = []
        end = self._cursor
        for item, after in islice(items(self.path, self._cursor), BATCH):
            if batch and not (isinstance(item, Point) and isinstance(batch[-1], Point)):
                break
            batch.append(item)
            end = after
        return (batch, end) if batch else None

    def _deliver(self, batch: list[Item | None]) -> None:
        first = batch[0]
        try:
            if isinstance(first, Entry):
                self._receiver.entry(first, payload(self.path, first))
            elif isinstance(first, Point):
                self._receiver.points([item for item in batch if isinstance(item, Point)])
            else:
                self._set_aside(None, "not an entry of a journal")
        except RefusedError as refusal:
            if len(batch) == 1:
                self._set_aside(first, str(refusal))
                return
            half = len(batch) // 2
            self._deliver(batch[:half])
            self._deliver(batch[half:])

    def _set_aside(self, item: Item | None, reason: str) -> None:
        refused = self.path.with_suffix(".refused")
        if isinstance(item, Entry) and item.do in WHOLE:
            self.rejected = f"{reason}; what was refused is kept in {refused}"
        if not refused.exists():
            log.warning("the store refuses a value (%s); kept in %s", reason, refused)
        if isinstance(item, Entry) and (file := payload(self.path, item)) and file.exists():
            kept = self.path.with_suffix(".refused-files") / file.parent.name
            shutil.rmtree(kept, ignore_errors=True)
            kept.parent.mkdir(exist_ok=True)
            file.parent.rename(kept)
        line = json.dumps({"why": reason, "item": None if item is None else asdict(item)})
        with refused.open("a", encoding="utf-8") as opened:
            opened.write(line + "\n")


def complete(path: Path) -> bool:
    """Whether the whole journal at `path` has been delivered."""
    return next(items(path, _cursor(path)), None) is None


class DeliveryThread:
    """Delivers the journal of a run while the run is being written."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery, self._deleted = delivery, ""
        self._wake, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="delivery", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """The journal has a new item."""
        self._wake.set()

    def close(self, seconds: float) -> bool:
        """End the thread; whether the store has everything. Waits at most `seconds`, and for one
        attempt only while the store does not answer.
        """
        self._closing.set()
        self._wake.set()
        self._thread.join(seconds)
        self._delivery.abandon()
        return not self._thread.is_alive() and complete(self._delivery.path)

    @property
    def rejected(self) -> str | None:
        """Why the store does not take the run; None if it does, or does not answer."""
        return self._deleted or self._delivery.rejected

    def _work(self) -> None:
        pause, away = RETRY_SECONDS, False
        while True:
            self._wake.wait()
            self._wake.clear()
            last = self._closing.is_set()
            try:
                self._delivery.drain()
            except Exception as error:  # noqa: BLE001 - whatever the store's client raises
                self._deleted = str(error) if isinstance(error, DeletedError) else ""
                if not away:
                    why = "take them" if self._deleted else "answer"
                    log.warning("the store does not %s, values wait here: %s", why, in_words(error))
                if last:
                    return
                away = True
                self._closing.wait(pause)
                pause = min(2 * pause, LONGEST_RETRY)
                self._wake.set()
                continue
            if away:
                log.warning("the store answers again, and has everything so far")
            pause, away, self._deleted = RETRY_SECONDS, False, ""
            if last:
                return


def _cursor(path: Path) -> int:
    """The number of delivered bytes of the journal. 0 if it is missing, damaged or beyond the
    journal's end: delivering an item again has no effect.
    """
    try:
        with path.with_suffix(".cursor").open("rb") as opened:
            found = int(opened.read(CURSOR_DIGITS))
        return found if 0 <= found <= path.stat().st_size else 0
    except (OSError, ValueError):
        return 0
