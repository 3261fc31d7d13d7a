"""`textgan ui`: MLflow's server on the store, until interrupted."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from optuna.study._frozen import FrozenStudy

from core.addresses import check_can_listen, shown
from core.errors import MOST_LISTED, InputError, MachineError
from core.metrics.catalogue import METRICS, metric_info
from core.tracking.protocol import NOTE, OF_STUDY, Columns, Tracker
from experiments.console import stderr
from studies.running.proposals import ARM_OF
from studies.running.storage import open_storage

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - all interfaces -> one to reach
DEFAULT_ADDRESS = "http://127.0.0.1:5000"
ADDRESS = "ui.address"  # file next to the store, while its UI runs: the address, and the folder
METRIC = "metric"  # parameter of a study's run
LOOK_SECONDS = 0.2
END_SECONDS = 20
LINK = re.compile(r"\[([^\]]+)\]\((#/[^)\s]+)\)")  # in the description of a study's run
INTERRUPTED = (-2, -15, 130, 143)


def serve(
    command: Sequence[str],
    environment: Mapping[str, str],
    host: str,
    port: int,
    ready: Callable[[str], None],
) -> None:
    """Run the server's command; `ready` is called with its address as soon as it listens.

    MachineError if it cannot listen there, or ends by itself with a fault.
    """
    check_can_listen(host, port)
    process = subprocess.Popen(list(command), env=dict(environment))
    try:
        while not (listens := _listens(host, port)) and process.poll() is None:
            time.sleep(LOOK_SECONDS)
        if listens and process.poll() is None:
            ready(address_of(host, port))
        status = process.wait()
    except KeyboardInterrupt:
        return
    finally:
        if process.poll() is None:
            _end(process)
    if not listens:  # MLflow ends with status 0 then, too
        raise MachineError("the MLflow server ended before it listened; the lines above say why")
    if status not in (0, *INTERRUPTED):
        raise MachineError(f"the MLflow server ended with status {status}")


def study_pages(tracker: Tracker, experiment: str) -> dict[str, str]:
    """Links by title, relative to the UI's address: those that a study wrote at its end into the
    description of its run; before that the tables of its runs and of their samples.
    """
    found = {"runs": tracker.link(experiment)}
    for run in tracker.runs(experiment, tags=OF_STUDY, columns=Columns((NOTE,), (METRIC,))):
        if links := LINK.findall(run.tags.get(NOTE, "").partition("\n")[0]):
            return dict(links)
        metric = run.params.get(METRIC, "")
        if metric.partition("/")[2] in METRICS:  # else of another version
            ascending = metric_info(metric).direction != "higher"
            found["samples of all runs"] = tracker.sentences_link(experiment, metric, ascending)
    return found


def ui_address(tracker: Tracker) -> str | None:
    """Where the UI of the store is now: the tracking server, or the `textgan ui` that runs."""
    if tracker.uri.startswith("http"):
        return tracker.uri
    with suppress(OSError, ValueError):
        address, store = (tracker.store_dir / ADDRESS).read_text(encoding="utf-8").split("\n")
        place = urlsplit(address)
        if store == str(tracker.store_dir) and _listens(str(place.hostname), place.port or 0):
            return address
    return None


def show_links(tracker: Tracker, studies: Sequence[str], address: str | None = None) -> None:
    """Print where the UI shows studies: at its address, by default that of the UI that runs on the
    store; without one, where it will be by default.
    """
    address = address or ui_address(tracker)
    if address is None:
        stderr.print("start [bold]textgan ui[/], then open (it prints these links for its port):")
    for study in studies[:MOST_LISTED]:
        for title, link in study_pages(tracker, study).items():
            text = f"  {study}, {title}: {shown(address or DEFAULT_ADDRESS)}/{link}"
            stderr.print(text, soft_wrap=True, markup=False)
    if len(studies) > MOST_LISTED:
        stderr.print(f"  and {len(studies) - MOST_LISTED} more")


def serve_dashboard(url: str, host: str, port: int) -> None:
    """Run optuna-dashboard on the searches of a storage, until interrupted. It shows each search
    once, without the queues of runs, which have no settings.
    """
    try:
        from optuna_dashboard import run_server
    except ImportError:
        raise InputError(
            "--optuna needs optuna-dashboard: pip install 'textgan-lab[dashboard]'"
        ) from None
    check_can_listen(host, port)
    storage = open_storage(url, beats=False)
    read = storage.get_all_studies

    def searches() -> list[FrozenStudy]:
        return [study for study in read() if ARM_OF in study.study_name]

    setattr(storage, "get_all_studies", searches)  # noqa: B010 - mypy refuses an assignment
    for study in searches():
        link = f"{address_of(host, port)}/dashboard/studies/{study._study_id}"
        stderr.print(f"  {study.study_name}: {link}", soft_wrap=True, markup=False)
    stderr.print("Ctrl-C ends it")
    with suppress(KeyboardInterrupt):
        run_server(storage, host=host, port=port)


def address_of(host: str, port: int) -> str:
    """Where a browser on this machine finds the server."""
    reached = EVERYWHERE.get(host, host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((EVERYWHERE.get(host, host), port), timeout=1).close()
    except OSError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and, through it, its workers."""
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
