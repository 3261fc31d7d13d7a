"""The journal delivers everything once, whatever the store and the process do meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.tracking import journal
from core.tracking.journal import Journal, Point


class Store:
    """Keeps what it is sent, or is away."""

    def __init__(self) -> None:
        self.away = False
        self.batches: list[list[Point]] = []

    def __call__(self, points: list[Point]) -> None:
        if self.away:
            raise ConnectionError("away")
        self.batches.append(points)

    @property
    def values(self) -> list[tuple[str, int, float]]:
        return [(p.key, p.step, p.value) for batch in self.batches for p in batch]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "RETRY_SECONDS", 0.02)


def test_everything_arrives_in_order_in_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "BATCH", 7)
    store = Store()
    writing = Journal(tmp_path / "j.jsonl", store)
    for step in range(50):
        writing.append({"a": step, "b": -step}, step)
    assert writing.close(10)
    assert store.values == [v for s in range(50) for v in (("a", s, s), ("b", s, -s))]
    assert max(len(batch) for batch in store.batches) <= 7


def test_what_a_dead_process_left_is_delivered_by_the_next(tmp_path: Path) -> None:
    store = Store()
    store.away = True
    writing = Journal(tmp_path / "j.jsonl", store)
    writing.append({"a": 1.0}, 1)
    assert not writing.close(0.1)
    store.away = False
    again = Journal(tmp_path / "j.jsonl", store)
    again.append({"a": 9.0}, 1)  # logged again after a resume: the first stays
    again.append({"a": 2.0}, 2)
    assert again.close(10)
    assert set(store.values) == {("a", 1, 1.0), ("a", 2, 2.0)}


def test_a_store_that_comes_back_gets_everything(tmp_path: Path) -> None:
    store = Store()
    store.away = True
    writing = Journal(tmp_path / "j.jsonl", store)
    writing.append({"a": 1.0}, 1)
    store.away = False
    writing.append({"a": 2.0}, 2)
    assert writing.close(10)
    assert store.values == [("a", 1, 1.0), ("a", 2, 2.0)]


def test_a_line_cut_short_by_a_kill_is_no_line(tmp_path: Path) -> None:
    file = tmp_path / "j.jsonl"
    file.write_text('["a", 1.0, 5, 1]\n["a", 2.')
    store = Store()
    writing = Journal(file, store)
    writing.append({"a": 2.5}, 2)
    assert writing.close(10)
    assert store.values == [("a", 1, 1.0), ("a", 2, 2.5)]
