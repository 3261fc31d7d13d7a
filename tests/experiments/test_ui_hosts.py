"""`textgan ui` listens where it was told and answers for the hosts it was told; nobody else."""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import optuna
import psutil
import pytest

from core.addresses import check_can_listen
from core.errors import InputError, MachineError
from core.tracking.memory import MemoryTracker
from core.tracking.mlflow_client import ui_command
from core.tracking.mlflow_store import open_tracker
from experiments.ui import address_of, serve, study_pages
from studies.running.storage import open_storage, storage_url
from tests.chaos.servers import free_port
from tests.experiments.test_cli import textgan

Ready = Callable[[str], None]


@pytest.mark.parametrize("kind", [MemoryTracker, lambda folder: open_tracker()])
def test_the_pages_of_a_study_are_those_that_its_report_wrote(
    kind: Callable[[Path], MemoryTracker], tmp_path: Path
) -> None:
    tracker = kind(tmp_path)
    begun = tracker.start_run("begun", "begun", params={}, tags={"level": "study"})
    begun.describe("a study\n\n[definition](#/elsewhere)")
    done = tracker.start_run("done", "done", params={}, tags={"level": "study"})
    links = "[report](#/experiments/1/runs/2) · [leaderboard](#/experiments/1?x=y)"
    done.describe(f"{links}\n\n[definition](#/elsewhere)")
    assert begun.flush()
    assert done.flush()
    assert study_pages(tracker, "begun") == {"runs": tracker.link("begun")}
    assert study_pages(tracker, "done") == {
        "report": "#/experiments/1/runs/2", "leaderboard": "#/experiments/1?x=y"
    }  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int, Path]]:
    """Port, process and output of a UI that may be called `pal` besides."""
    folder, port = tmp_path_factory.mktemp("ui"), free_port()
    tracker = open_tracker(f"sqlite:///{folder}/mlflow.db")
    command, environment = ui_command(tracker.uri, tracker.store_dir, port, names=["pal"])
    with (output := folder / "output").open("wb") as file:
        server = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        for _ in range(1200):
            if server.poll() is None and ask(port, f"127.0.0.1:{port}") == 200:
                break
            time.sleep(0.1)
        yield port, server.pid, output
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
def test_only_the_hosts_that_were_told_are_answered(served: tuple[int, int, Path]) -> None:
    port, process, output = served
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
    said = output.read_text(encoding="utf-8")
    assert "Allowed hosts" in said
    assert not re.search(r"GET|Warning", said), "lines of requests would hide the links"


def _hosts(command: list[str]) -> tuple[str, list[str]]:
    host, allowed = (command[command.index(f"--{key}") + 1] for key in ("host", "allowed-hosts"))
    return host, allowed.split(",")


def test_the_command_names_address_and_hosts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    open_tracker()
    begun: list[list[str]] = []

    def record(command: list[str], _: object, host: str, port: int, ready: Ready) -> None:
        begun.append(command)
        ready(address_of(host, port))

    monkeypatch.setattr("experiments.ui.serve", record)
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


def test_a_taken_port_costs_no_server_and_the_next_free_one_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    open_tracker()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = textgan("ui", "--port", str(port), capsys=capsys)
    assert code == 1
    assert "http://" not in err
    assert err.startswith(f"textgan: --port {port}: cannot listen on it (Address already in use)")
    free = int(err.split("--port ")[2].split()[0])
    check_can_listen("127.0.0.1", free)


def test_a_host_that_is_not_ours_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    open_tracker()
    code, _, err = textgan("ui", "--host", "203.0.113.7", capsys=capsys)
    assert code == 1
    assert "--host 203.0.113.7: cannot listen at this address" in err
    assert "can change" not in err


@pytest.mark.parametrize("status", [0, 1])
def test_a_server_that_does_not_listen_gets_no_links(status: int) -> None:
    said: list[str] = []
    with pytest.raises(MachineError, match="ended before it listened"):
        serve([sys.executable, "-c", f"exit({status})"], {}, "127.0.0.1", free_port(), said.append)
    assert not said


def test_an_error_while_links_are_shown_ends_the_server() -> None:
    def fails(_: str) -> None:
        raise MachineError("the store does not answer")

    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with pytest.raises(MachineError, match="does not answer"):
        serve(command, {}, "127.0.0.1", port, fails)
    check_can_listen("127.0.0.1", port)


def test_links_come_when_it_listens_and_an_interrupt_ends_it() -> None:
    port, said = free_port(), list[str]()

    def interrupted(address: str) -> None:
        socket.create_connection(("127.0.0.1", port)).close()
        said.append(address)
        raise KeyboardInterrupt

    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    serve(command, {}, "127.0.0.1", port, interrupted)
    assert said == [f"http://127.0.0.1:{port}"]
    check_can_listen("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "http://127.0.0.1:5000"), ("0.0.0.0", "http://127.0.0.1:5000"),
     ("lab.example", "http://lab.example:5000"), ("::", "http://[::1]:5000")],
)  # fmt: skip
def test_the_address_is_one_that_a_browser_here_reaches(host: str, address: str) -> None:
    assert address_of(host, 5000) == address


def test_the_dashboard_shows_each_search_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = open_tracker()
    storage, port = open_storage(storage_url(tracker)), free_port()
    for name in ("mine", "mine / search", "other", "other / mle", "other / modern", "axes"):
        optuna.create_study(storage=storage, study_name=name)
    shown: list[str] = []

    def run_server(found: optuna.storages.BaseStorage, host: str, port: int) -> None:
        shown.extend(
            study.study_name for study in optuna.storages.get_storage(found).get_all_studies()
        )
        raise KeyboardInterrupt

    arguments = ("ui", "--optuna", "--port", str(port))
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    code, _, err = textgan(*arguments, capsys=capsys)
    assert code == 2
    assert err == (
        "textgan: --optuna needs optuna-dashboard: pip install 'textgan-lab[dashboard]'\n"
    )
    monkeypatch.setitem(sys.modules, "optuna_dashboard", SimpleNamespace(run_server=run_server))
    code, _, err = textgan(*arguments, capsys=capsys)
    assert code == 0
    assert shown == ["mine / search", "other / mle", "other / modern"]
    links = [line.strip() for line in err.splitlines() if "http" in line]
    address = f"http://127.0.0.1:{port}/dashboard/studies"
    assert links == [f"{name}: {address}/{n}" for n, name in zip((2, 4, 5), shown, strict=True)]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        code, _, err = textgan(*arguments, capsys=capsys)
    assert code == 1
    assert "dashboard/studies" not in err, "an error comes before any links"
