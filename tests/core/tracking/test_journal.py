"""The journal loses nothing and repeats nothing, whatever store, disk and process do."""

from __future__ import annotations

import json
import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import MachineError
from core.tracking import delivery
from core.tracking.delivery import Delivery, DeliveryThread, RefusedError
from core.tracking.journal import Entry, Journal, Point, items, parse, payload
from core.tracking.mlflow_delivery import _is_permanent

HOURS = 7  # of an outage


class Store:
    """Keeps what it is sent, is away, or refuses some of it."""

    def __init__(self, refuses: str = "") -> None:
        self.away, self.refuses = False, refuses
        self.batches: list[Sequence[Point]] = []
        self.entries: list[tuple[str, str | None]] = []

    def points(self, points: Sequence[Point]) -> None:
        if self.away:
            raise ConnectionError("away")
        if any(p.key == self.refuses for p in points):
            raise RefusedError("no such key")
        self.batches.append(points)

    def entry(self, entry: Entry, file: Path | None) -> None:
        if self.away:
            raise ConnectionError("away")
        content = file.read_text() if file and file.exists() else None
        self.entries.append((entry.content.get("path") or entry.do, content))

    @property
    def values(self) -> list[tuple[str, int, float]]:
        return [(p.key, p.step, p.value) for batch in self.batches for p in batch]

    def thread(self, journal: Journal) -> DeliveryThread:
        return DeliveryThread(Delivery(journal.path, self))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "RETRY_SECONDS", 0.02)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "j.jsonl")
    yield opened
    opened.close()


def test_everything_arrives_in_order_in_batches(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "BATCH", 7)
    store = Store()
    thread = store.thread(journal)
    for step in range(50):
        journal.metrics({"a": step, "b": -step}, step)
        thread.wake()
    assert thread.close(10)
    assert store.values == [v for s in range(50) for v in (("a", s, s), ("b", s, -s))]
    assert max(len(batch) for batch in store.batches) <= 7


def test_what_a_dead_process_left_is_delivered_by_the_next(journal: Journal) -> None:
    store = Store()
    store.away = True
    journal.metrics({"a": 1.0}, 1)
    assert not store.thread(journal).close(10)
    journal.close()
    store.away = False
    again = Journal(journal.path)
    again.metrics({"a": 9.0}, 1)  # logged again after a resume: the first stays
    again.metrics({"a": 2.0}, 2)
    again.close()
    assert store.thread(again).close(10)
    assert store.values == [("a", 1, 1.0), ("a", 2, 2.0)]
    assert again.history("a") == [(1, 1.0), (2, 2.0)]


def test_a_store_that_comes_back_gets_everything(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    store.away = True
    thread = store.thread(journal)
    journal.metrics({"a": 1.0}, 1)
    thread.wake()
    while "does not answer" not in caplog.text:
        pass
    store.away = False
    journal.metrics({"a": 2.0}, 2)
    assert thread.close(10)
    assert store.values == [("a", 1, 1.0), ("a", 2, 2.0)]
    assert "answers again" in caplog.text


def test_after_an_outage_of_hours_everything_arrives_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is simulated: a pause takes no time, and says how long it would have been."""
    pauses: list[float] = []
    store, back, opened = Store(), threading.Event(), Journal(tmp_path / "long.jsonl")
    store.away = True

    class Clock(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if timeout is None:
                return super().wait()
            pauses.append(timeout)
            if sum(pauses) > HOURS * 3600:
                store.away = False
                back.set()
            return self.is_set()

    monkeypatch.setattr(delivery, "RETRY_SECONDS", 2.0)
    monkeypatch.setattr(delivery.threading, "Event", Clock)
    thread = store.thread(opened)
    for step in range(50):
        opened.metrics({"a": float(step)}, step)
        thread.wake()
    assert back.wait(30)
    opened.metrics({"a": 50.0}, 50)
    assert thread.close(30)
    opened.close()
    assert store.values == [("a", step, float(step)) for step in range(51)]
    assert pauses[:6] == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert max(pauses) == delivery.LONGEST_RETRY


def test_what_waits_takes_room_on_the_disk_and_not_in_memory(journal: Journal) -> None:
    store = Store()
    store.away = True
    thread = store.thread(journal)
    steps, keys, sizes = 1500, [f"train/{k}" for k in range(10)], []
    tracemalloc.start()
    for part in range(3):
        for step in range(part * steps, (part + 1) * steps):
            journal.metrics(dict.fromkeys(keys, step / 7), step)
            thread.wake()
            if step % 500 == 0:
                journal.replace_file("samples.json", lambda at: at.write_text("x" * 9999) and None)
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert not thread.close(10)
    points = steps * len(keys)
    assert journal.path.stat().st_size > 50 * 3 * points
    assert sizes[2] - sizes[1] < 1.25 * 8 * points + 200_000, "steps, and one batch"
    assert len(list(journal.spool.iterdir())) == 1, "the newest version of the file alone"
    assert journal.history("train/3") == [(s, s / 7) for s in range(3 * steps)]


def test_a_file_goes_once_and_a_newer_version_takes_its_place(
    journal: Journal, tmp_path: Path
) -> None:
    store = Store()
    journal.replace_file("a/t.txt", lambda at: at.write_text("old") and None)
    journal.replace_file("b/t.txt", lambda at: at.write_text("other") and None)
    journal.replace_file("a/t.txt", lambda at: at.write_text("new") and None)
    assert len(list(journal.spool.iterdir())) == 2, "the store was away: only the newest waits"
    assert store.thread(journal).close(10)
    assert [e for e in store.entries if e[1]] == [("b/t.txt", "other"), ("a/t.txt", "new")]
    assert list(journal.spool.iterdir()) == []


def test_what_the_store_refuses_is_put_aside_and_the_rest_arrives(journal: Journal) -> None:
    store = Store(refuses="bad")
    for step in range(5):
        journal.metrics({"a": 1.0, "bad" if step == 2 else "b": 2.0}, step)
    assert store.thread(journal).close(10)
    assert len(store.values) == 9
    (line,) = journal.path.with_suffix(".refused").read_text().splitlines()
    assert json.loads(line)["item"]["key"] == "bad"


def test_a_file_that_the_store_refuses_is_kept(journal: Journal) -> None:
    class Picky(Store):
        def entry(self, entry: Entry, file: Path | None) -> None:
            if entry.content.get("path") == "b.txt":
                raise RefusedError("not this")
            super().entry(entry, file)

    store = Picky()
    for name in ("a.txt", "b.txt", "c.txt"):
        journal.replace_file(name, lambda at: at.write_text(at.name) and None)
    assert store.thread(journal).close(10)
    assert [path for path, _ in store.entries] == ["a.txt", "c.txt"]
    (kept,) = journal.path.with_suffix(".refused-files").rglob("*.txt")
    assert (kept.name, kept.read_text()) == ("b.txt", "b.txt")


@pytest.mark.parametrize(
    ("code", "words", "permanent"),
    [
        ("INVALID_PARAMETER_VALUE", "Invalid metric name", True),
        ("BAD_REQUEST", "(psycopg.DataError) value out of range", True),
        ("BAD_REQUEST", "QueuePool limit of size 5 overflow 10 reached, timed out", False),
        ("BAD_REQUEST", "(psycopg.InterfaceError) the connection is closed", False),
        ("TEMPORARILY_UNAVAILABLE", "database is locked", False),
    ],
)
def test_a_database_in_trouble_refuses_nothing_is_permanent(
    code: str, words: str, permanent: bool
) -> None:
    assert _is_permanent(code, words) is permanent


def test_a_kill_at_any_byte_loses_no_whole_line_and_repeats_none(tmp_path: Path) -> None:
    whole = Journal(tmp_path / "whole.jsonl")
    for step in range(3):
        whole.metrics({"a": step / 3, "b": float("nan")}, step)
    whole.close()
    content = whole.path.read_bytes()
    for cut in range(len(content)):
        path = tmp_path / f"{cut}.jsonl"
        path.write_bytes(content[:cut])
        path.with_suffix(".cursor").write_text("" if cut % 2 else "0")  # killed there too
        store = Store()
        resumed = Journal(path)
        for step in range(3):
            resumed.metrics({"a": step / 3, "b": float("nan")}, step)
        resumed.close()
        Delivery(path, store).drain()
        assert [(k, s) for k, s, _ in store.values] == [(k, s) for s in range(3) for k in "ab"]
        assert [v for k, _, v in store.values if k == "a"] == [0, 1 / 3, 2 / 3]


@pytest.mark.parametrize("said", ["9" * 400, "100000", "-3", "x", ""])
def test_a_damaged_cursor_hides_nothing(journal: Journal, said: str) -> None:
    journal.metrics({"a": 1.0}, 1)
    journal.close()
    journal.path.with_suffix(".cursor").write_text(said)
    store = Store()
    Delivery(journal.path, store).drain()
    assert [(key, step) for key, step, _ in store.values] == [("a", 1)]


def test_a_journal_has_one_writer(journal: Journal) -> None:
    with pytest.raises(MachineError, match="being written by another process"):
        Journal(journal.path)
    journal.close()
    Journal(journal.path).close()


def test_a_journal_of_the_first_format_is_read_and_a_later_one_refused(tmp_path: Path) -> None:
    old = tmp_path / "old.jsonl"
    old.write_text('["a", 1.0, 5, 1]\n')
    assert [item for item, _ in items(old)] == [Point("a", 1.0, 5, 1)]
    later = tmp_path / "later.jsonl"
    later.write_text('{"format": 3}\n')
    with pytest.raises(MachineError, match="journal format 3, this version reads up to 2"):
        Journal(later)


def test_a_full_disk_cuts_no_line(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __init__(self, file: object) -> None:
            self.file = file

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

        def write(self, data: bytes) -> int:
            return int(self.file.write(data[:5]))  # type: ignore[attr-defined]

    journal.metrics({"a": 1.0}, 1)
    before = journal.path.read_bytes()
    monkeypatch.setattr(journal, "_file", Full(journal._file))
    with pytest.raises(MachineError, match="no space left"):
        journal.metrics({"a": 2.0}, 2)
    assert journal.path.read_bytes() == before


def test_no_file_of_an_entry_leads_out_of_the_spool(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    inside = payload(path, Entry("artifact", {"file": "12/t.txt"}))
    assert inside == (tmp_path / "j" / "12" / "t.txt").resolve()
    for name in ("../t.txt", "/etc/passwd", "t.txt", "12/../../x", "12/a/b", "a\0b/c", 5, None):
        assert payload(path, Entry("artifact", {"file": name})) is None


@given(
    st.binary()
    | st.from_regex(r'\[".*", ?[-0-9.eE]{1,400}, ?[0-9]{1,30}, ?[0-9]\]').map(str.encode)
)
def test_a_line_of_anything_is_an_item_or_none(line: bytes) -> None:
    found = parse(line)
    assert found is None or isinstance(found, Point | Entry | int)


@given(st.dictionaries(st.text(), st.floats(), max_size=5), st.integers(0, 2**40))
def test_a_point_reads_back_as_written(values: dict[str, float], step: int) -> None:
    for key, value in values.items():
        point = parse(json.dumps([key, value, 1, step]).encode())
        assert isinstance(point, Point)
        assert (point.key, point.step) == (key, step)
        assert point.value == value or value != value
