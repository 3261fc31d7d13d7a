"""`textgan rate --page`: blind, escaped, of this machine alone, and every answer kept once."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from core.errors import InputError
from experiments.rating import RatingPage
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
