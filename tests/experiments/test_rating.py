"""`textgan rate --page`: blind, escaped, of this machine alone, and every answer kept once; results
leave the runs as they are.
"""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from core.errors import InputError
from core.tracking.memory import MemoryTracker
from experiments import rating
from experiments.rating import RatingPage, publish
from studies.ratings import SentencePair

MADE = [
    (SentencePair(0, "<b>one</b>", "two & three", "secret_a", "secret_b"), False),
    (SentencePair(1, "four", "five", "secret_a", "secret_b"), True),
    (SentencePair(2, "six", "seven", "secret_a", "secret_b"), True),
]
Said = list[tuple[int, int | None]]


@pytest.fixture
def served() -> Iterator[tuple[RatingPage, Said, threading.Thread]]:
    said: Said = []
    page = RatingPage(MADE, "better", 0, lambda c, side: said.append((c.number, side)))
    thread = threading.Thread(target=page.serve, daemon=True)
    thread.start()
    yield page, said, thread
    page.answer({"token": [page._token], "said": ["q"]})
    page.close_when_done()
    thread.join(10)


def ask(page: RatingPage, form: dict[str, str] | None = None, host: str = "") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    headers = {"Host": host or f"127.0.0.1:{page.port}"}
    body = urlencode(form) if form else None
    connection.request("POST" if form else "GET", "/", body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def token(text: str) -> str:
    found = re.search(r'name="token" value="([^"]+)"', text)
    assert found is not None
    return found.group(1)


def test_a_session_from_the_first_to_the_last(
    served: tuple[RatingPage, Said, threading.Thread],
) -> None:
    page, said, thread = served
    status, text = ask(page)
    assert status == 200
    assert "&lt;b&gt;one&lt;/b&gt;" in text
    assert "two &amp; three" in text
    assert "secret" not in text
    assert "1 of 3" in text
    form = {"token": token(text), "number": "0", "said": "2"}
    _, text = ask(page, form)
    assert text.index("five") < text.index("four")  # swapped
    ask(page, form)  # sent twice: counts once
    _, text = ask(page, form | {"number": "1", "said": "1"})
    _, text = ask(page, form | {"number": "2", "said": "="})
    assert said == [(0, 1), (1, 1), (2, None)]
    assert "3 of 3 answered" in text
    thread.join(10)
    assert not thread.is_alive()


def test_others_are_refused(served: tuple[RatingPage, Said, threading.Thread]) -> None:
    page, said, _ = served
    form = {"token": token(ask(page)[1]), "number": "0", "said": "1"}
    assert ask(page, host="evil.example")[0] == 403
    assert ask(page, form, host=f"evil.example:{page.port}")[0] == 403
    assert ask(page, form | {"token": "guess"})[0] == 403
    assert ask(page, form | {"said": "everything"})[0] == 403
    assert ask(page, host=f"localhost:{page.port}")[0] == 200
    assert said == []
    with pytest.raises(InputError, match=f"--port {page.port}"):
        RatingPage(MADE, "better", page.port, lambda *_: None)


def test_stopping_early_keeps_what_was_said(
    served: tuple[RatingPage, Said, threading.Thread],
) -> None:
    page, said, thread = served
    form = {"token": token(ask(page)[1]), "number": "0", "said": "1"}
    ask(page, form)
    _, text = ask(page, form | {"number": "1", "said": "q"})
    assert "1 of 3 answered" in text
    thread.join(10)
    assert not thread.is_alive()
    assert said == [(0, 0)]


def test_the_page_is_whole_while_the_last_answer_is_written() -> None:
    seen = []

    def record(*_: object) -> None:
        reader = threading.Thread(target=lambda: seen.append(page.page()))
        reader.start()
        reader.join(0.05)  # it waits for the answer, or it reads what is half done
        waiting.append(reader)

    waiting: list[threading.Thread] = []
    page = RatingPage(MADE[:1], "better", 0, record)
    form = {"token": [page._token], "number": ["0"], "said": ["1"]}
    assert page.answer(form)
    waiting[0].join()
    page._server.server_close()
    assert len(seen) == 1
    assert "1 of 1 answered" in seen[0]


def test_an_answer_that_cannot_be_written_is_asked_for_again(
    served: tuple[RatingPage, Said, threading.Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    page, said, _ = served
    form = {"token": token(ask(page)[1]), "number": "0", "said": "1"}

    def fails(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(page, "_record", fails)
        status, text = ask(page, form)
    assert (status, "not kept (no space left)" in text) == (500, True)
    assert "1 of 3" in ask(page)[1]
    _, text = ask(page, form)
    assert "2 of 3" in text
    assert said == [(0, 0)]


def test_results_leave_the_state_of_every_run_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = {"value": 0.5, "low": 0.4, "high": 0.6}
    names = ("running", "killed", "diverged", "ok")
    found: dict[str, Any] = {
        "agreement": share, "kappa": None, "preferred": dict.fromkeys(names, share)
    }  # fmt: skip
    monkeypatch.setattr(rating.ratings, "results", lambda *_: found)
    for ending in names:
        tracker = MemoryTracker(tmp_path)
        tags = {"study": "s", "level": "study"}
        runs = [tracker.start_run("s", "s", params={}, tags=tags)]
        for name in names:
            of_variant = {"study": "s", "level": "variant", "variant": name}
            runs.append(tracker.start_run("s", name, params={}, tags=of_variant))
        for run, outcome in zip(runs, (ending, *names), strict=True):
            if outcome != "running":
                run.finish(outcome, "why")  # type: ignore[arg-type]
        before = [(run.status, dict(run.tags)) for run in runs]
        assert publish(tracker, "s") == found
        assert [(run.status, dict(run.tags)) for run in runs] == before
        assert runs[0].points["human/agreement"] == {0: 0.5}
        assert all(run.points["human/preferred"] == {0: 0.5} for run in runs[1:])
