"""`textgan ui` listens where it was told and answers for the hosts it was told; nobody else."""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core.errors import InputError
from core.tracking.mlflow_client import ui_command
from core.tracking.mlflow_store import open_tracker
from tests.chaos.servers import free_port
from tests.experiments.test_cli import textgan


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Port and process of a UI that may be called `pal` besides."""
    folder, port = tmp_path_factory.mktemp("ui"), free_port()
    tracker = open_tracker(f"sqlite:///{folder}/mlflow.db")
    command, environment = ui_command(tracker.uri, tracker.store_dir, port, names=["pal"])
    server = subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(1200):
            if server.poll() is None and ask(port, f"127.0.0.1:{port}") == 200:
                break
            time.sleep(0.1)
        yield port, server.pid
    finally:
        server.terminate()
        server.wait(30)


def ask(port: int, host: str, method: str = "GET", origin: str | None = None) -> int:
    """The status of a request that says it is for `host`; 0 where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    path = "/api/2.0/mlflow/experiments/" + (
        "search?max_results=1" if method == "GET" else "create"
    )
    headers = {"Host": host, "Content-Type": "application/json"}
    try:
        connection.request(
            method, path, b'{"name": "mine"}' if method == "POST" else None,
            headers | ({"Origin": origin} if origin else {}),
        )  # fmt: skip
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


@pytest.mark.slow
def test_only_the_hosts_that_were_told_are_answered(served: tuple[int, int]) -> None:
    port, process = served
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"pal:{port}"):
        assert ask(port, host) == 200, host
    for host in ("evil.example", f"evil.example:{port}", f"pal.evil.example:{port}", "pal"):
        assert ask(port, host) == 403, host
    foreign = ask(port, f"127.0.0.1:{port}", "POST", origin="http://evil.example")
    assert foreign == 403, "a page elsewhere may not write"

    family = [psutil.Process(process), *psutil.Process(process).children(recursive=True)]
    listening = {
        connection.laddr.ip
        for member in family
        for connection in member.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def _hosts(command: list[str]) -> tuple[str, list[str]]:
    host, allowed = (command[command.index(f"--{key}") + 1] for key in ("host", "allowed-hosts"))
    return host, allowed.split(",")


def test_the_command_names_address_and_hosts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: list[list[str]] = []

    def record(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        begun.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", record)
    code, _, err = textgan("ui", "--port", "5055", capsys=capsys)
    assert code == 0
    assert "http://127.0.0.1:5055" in err
    assert "can change every run" not in err
    assert _hosts(begun[-1]) == ("127.0.0.1", ["127.0.0.1:5055", "localhost:5055"])
    code, _, err = textgan(
        "ui", "--host", "0.0.0.0", "--allow", "lab.example", "--allow", "lab", capsys=capsys
    )
    assert code == 0
    assert "listening on 0.0.0.0: everyone who can reach it can change every run" in err
    host, allowed = _hosts(begun[-1])
    assert host == "0.0.0.0"
    assert allowed[-2:] == ["lab.example:5000", "lab:5000"]
    assert "*" not in "".join(allowed)


def test_a_store_with_a_server_of_its_own_is_pointed_to(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="open http://elsewhere:5000 in a browser"):
        ui_command("http://elsewhere:5000", tmp_path, 5000)
