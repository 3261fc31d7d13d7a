"""A real tracking server behind a proxy that misbehaves at random moments of a run."""

from __future__ import annotations

import os
import shutil
import threading
from functools import partial
from pathlib import Path
from typing import Any

from core.tracking.mlflow_client import store_dir_of
from core.tracking.protocol import RunLabels
from tests.chaos import runs
from tests.chaos.children import child
from tests.chaos.servers import FAULTS, FaultyProxy, mlflow_server
from tests.chaos.tally import Tally
from tests.chaos.world import Say, World, longest, troubles

IMPATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "2", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
             "TEXTGAN_WAIT_SECONDS": "1"}  # fmt: skip
PATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "60", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}  # who looks


def outages(world: World, times: int, say: Say) -> Tally:
    """The server misbehaves, in every way there is; afterwards what waits is delivered."""
    world.prepare()
    tally = Tally("outage of the tracking server")
    before = dict(os.environ)
    os.environ |= IMPATIENT
    here, place = Path.cwd(), world.folder / "outage"
    place.mkdir()
    os.chdir(place)  # a server's store_dir is below the current folder
    try:
        with mlflow_server(place / "server") as port:
            for number in range(times):
                tally.count(_outage(world, port, number, tally))
                say(tally)
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ |= before  # other kinds of faults wait as long as users do
        shutil.rmtree(place)
    return tally


def _outage(world: World, port: int, number: int, tally: Tally) -> list[str]:
    experiment = f"o{number}"
    proxy = FaultyProxy(port)
    try:
        begun = child(partial(_reach, proxy.address), world.folder)
        stop = threading.Event()
        kind = world.rng.choice(FAULTS)
        tally.note(kind)
        waits = [world.rng.uniform(0, world.seconds / 2) for _ in range(6)]
        trouble = threading.Thread(target=_trouble, args=(proxy, kind, waits, stop))
        trouble.start()
        ended = child(partial(_train, proxy.address, experiment), world.folder)
        stop.set()
        trouble.join()
        proxy.set(None)
        synced = child(partial(_sync, proxy.address), world.folder)
        told = child(partial(_facts, proxy.address, experiment), world.folder)
        every = (begun, ended, synced, told)
        tally.took(longest(every))
        acts = ("reaching", "training", "delivering", "looking")
        said = zip(acts, every, strict=True)
        wrong = [f"{act}: {end.words}" for act, end in said if end.words] + troubles(every)
        wrong += [f"ended as {ended.answer}"] if ended.answer != "ok" else []
        wrong += _refused(proxy.address)
        return wrong or runs.differences(told.answer or {}, world.expected)
    finally:
        proxy.close()


def _refused(address: str) -> list[str]:
    """What was put aside, in its own words."""
    files = (store_dir_of(address) / "journal").glob("*.refused")
    return [f"refused: {line[:300]}" for file in files for line in file.read_text().splitlines()]


def _trouble(proxy: FaultyProxy, kind: str, waits: list[float], stop: threading.Event) -> None:
    """Now away, now back."""
    for number, wait in enumerate(waits):
        if stop.wait(wait):
            return
        proxy.set(kind if number % 2 == 0 else None)


def _reach(address: str) -> None:
    from core.tracking.mlflow_store import open_tracker

    os.environ |= PATIENT
    open_tracker(address).experiments()


def _train(address: str, experiment: str) -> str:
    from core.tracking import delivery
    from core.tracking.mlflow_store import open_tracker
    from experiments.single_run.run import run

    delivery.RETRY_SECONDS = 0.1
    tracker = open_tracker(address)
    return run(runs.config(), tracker=tracker, labels=RunLabels(experiment)).outcome


def _sync(address: str) -> None:
    from core.tracking.mlflow_store import open_tracker

    os.environ |= PATIENT
    found = open_tracker(address).sync()
    assert not found.away, found
    assert not found.busy, found


def _facts(address: str, experiment: str) -> dict[str, Any]:
    os.environ |= PATIENT
    return runs.facts(address, experiment)
