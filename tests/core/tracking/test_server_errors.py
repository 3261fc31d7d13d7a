"""A server that is away, refuses, or is none: every command says so in a sentence of ours."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from core.errors import InputError, MachineError
from core.server_errors import in_words, server_error, server_reason
from core.tracking.mlflow_store import open_tracker
from studies.running.storage import open_storage
from tests.chaos.servers import free_port
from tests.experiments.test_cli import STUDY, textgan

OF_A_CLIENT = re.compile(
    r"Pool|Max retries|<html|API request|exception|Errno|psycopg\.|Traceback|mlflow/|ssl\.|GRPC"
)
PAGE = b"<html><head><title>A page of a proxy</title></head></html>"
Answer = Callable[[socket.socket], None]


def page(status: str) -> Answer:
    """An answer with a page of HTML, as proxies give it."""

    def answer(client: socket.socket) -> None:
        client.recv(65536)
        head = f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {len(PAGE)}"
        client.sendall(f"{head}\r\nConnection: close\r\n\r\n".encode() + PAGE)

    return answer


def hang(client: socket.socket) -> None:
    """No answer while the client waits."""
    time.sleep(2)


def hang_up(client: socket.socket) -> None:
    """The end of the connection."""
    client.recv(65536)


@contextmanager
def server(answer: Answer) -> Iterator[int]:
    """The port of a server that gives each client this answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def work() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                with client:
                    answer(client)

        threading.Thread(target=work, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for proxy in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(proxy, raising=False)


def refused(address: str) -> str:
    with pytest.raises(MachineError) as caught:
        open_tracker(address)
    words = str(caught.value)
    assert words.startswith(f"{address}: the store does not open: ")
    assert not OF_A_CLIENT.search(words)
    assert "\n" not in words
    return words


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (page("401 Unauthorized"), "asks for a user name and a password"),
        (page("403 Forbidden"), "refuses access"),
        (page("404 Not Found"), "no MLflow server at this address"),
        (page("413 Too Large"), "raise its limit"),
        (page("429 Too Many Requests"), "try again later"),
        (page("500 Internal Server Error"), "has failed; read its log"),
        (page("502 Bad Gateway"), "a proxy in front of it, has failed"),
        (page("503 Service Unavailable"), "status 503"),
        (page("200 OK"), "not an MLflow server"),
        (hang, "no answer in time"),
        (hang_up, "closed without an answer"),
    ],
)
def test_answers_that_are_not_mlflows(answer: Answer, words: str) -> None:
    with server(answer) as port:
        assert words in refused(f"http://127.0.0.1:{port}")


def test_addresses_where_no_server_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nothing listens" in refused(f"http://127.0.0.1:{free_port()}")
    assert "correct the address" in refused("http://no.such.host.invalid:5000")
    with server(page("400 Bad Request")) as port:
        assert "write http://" in refused(f"https://127.0.0.1:{port}")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    assert "HTTP_PROXY" in refused("http://127.0.0.1:5000")


@pytest.mark.parametrize(
    "address", ["http://", "http:///x", "http://host:99999", "http://host:x", "htp://x", "mlruns"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="http://HOST:PORT"):
        open_tracker(address)


COMMANDS = [
    "runs", "runs compare abcd bcde", "runs delete abcd -y", "runs restore abcd", "runs gc -y",
    "report seen", "report seen --register m", "sample abcd", "sweep abcd", "reproduce abcd",
    "rate seen --results", "run --resume abcd", f"study {STUDY}",
    "evaluate s.txt --references s.txt --log seen",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("seen", [False, True], ids=["never seen", "seen before"])
def test_every_command_says_that_nothing_listens(
    command: str, seen: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    Path("s.txt").write_text("a b c\n")
    if seen:
        from core.tracking.mlflow_client import store_dir_of

        store_dir_of(address).mkdir(parents=True)
        (store_dir_of(address) / ".reached").touch()
    code, out, err = textgan(*command.split(), capsys=capsys)
    said = [line for line in err.splitlines() if line.startswith("textgan: ")]
    assert (code, out) == (1, "")
    assert len(said) == 1, err
    assert "nothing listens at this address" in said[0]
    assert not OF_A_CLIENT.search(err)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://ada:secret@127.0.0.1:1/optuna", "nothing listens at this address"),
        ("postgresql://ada:secret@no.such.host.invalid/optuna", "correct the address"),
    ],
)
def test_a_database_that_is_away_is_said_at_once(url: str, words: str) -> None:
    pytest.importorskip("psycopg")
    start = time.monotonic()
    for opened in (open_storage, open_tracker):
        with pytest.raises(MachineError) as caught:
            opened(url)
        assert words in str(caught.value)
        assert "secret" not in str(caught.value)
        assert not OF_A_CLIENT.search(str(caught.value))
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("url", ["http://x:5000", "optuna.db", "redis://x"])
def test_what_is_no_storage_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="must be postgresql://USER@HOST/DATABASE, grpc:"):
        open_storage(url)


def test_an_answer_of_the_server_itself_keeps_its_words() -> None:
    assert server_reason("RESOURCE_DOES_NOT_EXIST: Run with id=404 not found") is None
    assert in_words(ValueError("Run 'x' not found\nmore")) == "Run 'x' not found"
    assert server_error(ValueError("Connection refused")) is None, "of no client"
    error = requests.HTTPError("502 Server Error: Bad Gateway for url: http://u:pw@x/artifacts")
    assert str(server_error(error)).startswith("the tracking server: the server, or a proxy")
