"""Faults: each is tried on a whole run, which must come to what an undisturbed one came to."""

from __future__ import annotations

import logging
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.chaos import crowd, runs
from tests.chaos.children import BASE_SECONDS, PACE, Ended, Kill, begin, child
from tests.chaos.mutants import fuzz
from tests.chaos.servers import FAULTS, FaultyProxy, mlflow_server

TWO = ("one", "two")
WORKERS = 4  # for each of two studies
MOST_KILLS = 3  # of one run
Say = Callable[[str], None]


@dataclass
class Tally:
    """One kind of fault: how often tried, survived, and what was lost."""

    fault: str
    tried: int = 0
    survived: int = 0
    lost: list[str] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)

    def count(self, wrong: list[str]) -> None:
        self.tried += 1
        self.survived += not wrong
        self.lost += wrong

    def note(self, what: str, times: int = 1) -> None:
        self.notes[what] = self.notes.get(what, 0) + times

    def line(self) -> str:
        notes = ", ".join(f"{n} {what}" for what, n in sorted(self.notes.items()))
        lost = "; ".join(self.lost[:5]) or "nothing"
        return f"{self.fault}: tried {self.tried}, survived {self.survived}, lost {lost}" + (
            f" ({notes})" if notes else ""
        )


class Chaos:
    """A folder to work in, the template of a store, and what an undisturbed run comes to."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng = folder, rng
        # One path for all: experiments keep the absolute path of their artifacts.
        self.world, self.template = folder / "world", folder / "template"
        prepared = child(lambda: runs.prepare(self.world), folder)
        assert not prepared.words, prepared.traceback
        shutil.copytree(self.world, self.template)
        self.expected = self.undisturbed()

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.world}/mlflow.db"

    def undisturbed(self) -> dict[str, Any]:
        runs.fresh(self.template, self.world)
        began = time.monotonic()
        ended = child(lambda: runs.work(self.uri), self.folder, Kill())
        self.seconds, self.steps = time.monotonic() - began, ended.steps
        PACE.factor = 2 * self.seconds / BASE_SECONDS
        assert ended.answer == "ok", ended
        kept = ("runs", "artifacts", "journal")
        self.bytes = sum(_size(self.world / name) for name in kept)
        return self.facts()

    def facts(self) -> dict[str, Any]:
        ended = child(lambda: runs.facts(self.uri), self.folder)
        return ended.answer if ended.answer else {"problem": ended.words, "history": {}}

    def judge(self, tally: Tally, ended: list[Ended]) -> None:
        """Compare with the undisturbed run, and look for hangs and tracebacks."""
        wrong = runs.differences(found := self.facts(), self.expected)
        if "problem" in found:
            wrong = [found["problem"]]
        wrong += ["hung" for end in ended if end.hung]
        wrong += [end.traceback.strip().splitlines()[-1] for end in ended if end.traceback]
        tally.count(wrong)

    # Kills.

    def kills(self, times: int, say: Say) -> Tally:
        """`kill -9` at random instants and right before random steps in the file system."""
        tally = Tally("kill -9 of a run")
        done = 0
        while done < times:
            runs.fresh(self.template, self.world)
            ended: list[Ended] = []
            for _ in range(self.rng.randint(1, MOST_KILLS)):
                kill = (
                    Kill(seconds=self.rng.uniform(0, self.seconds))
                    if self.rng.random() < 0.5
                    else Kill(step=self.rng.randint(1, self.steps))
                )
                ended.append(child(lambda: runs.work(self.uri), self.folder, kill))
                if not ended[-1].killed:
                    break
                done += 1
                tally.note("by the clock" if kill.step is None else "at a file operation")
            ended.append(child(lambda: runs.work(self.uri), self.folder))
            self.judge(tally, ended)
            say(tally.line())
        tally.note(f"kills in {tally.tried} runs", done)
        return tally

    # Outages.

    def outages(self, times: int, say: Say) -> Tally:
        """The server misbehaves at random moments of a run, in every way there is."""
        tally = Tally("outage of the tracking server")
        os.environ |= {"MLFLOW_HTTP_REQUEST_TIMEOUT": "2", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
                       "TEXTGAN_WAIT_SECONDS": "1"}  # fmt: skip
        here = Path.cwd()
        try:
            while tally.tried < times:
                place = self.folder / f"outage-{tally.tried}"
                place.mkdir()
                os.chdir(place)
                with mlflow_server(place / "server") as port:
                    for _ in range(min(10, times - tally.tried)):
                        self._outage(port, tally)
                        say(tally.line())
                os.chdir(here)
                shutil.rmtree(place)
        finally:
            os.chdir(here)
        return tally

    def _outage(self, port: int, tally: Tally) -> None:
        proxy = FaultyProxy(port)
        experiment = f"o{tally.tried}"
        try:
            begun = child(lambda: _reach(proxy.address), self.folder)
            stop = threading.Event()
            kind = self.rng.choice(FAULTS)
            tally.note(kind)
            waits = [self.rng.uniform(0.2, 3) for _ in range(6)]
            trouble = threading.Thread(target=_trouble, args=(proxy, kind, waits, stop))
            trouble.start()
            ended = child(lambda: _train(proxy.address, experiment), self.folder)
            stop.set()
            trouble.join()
            proxy.set(None)
            synced = child(lambda: _sync(proxy.address), self.folder)
            told = child(lambda: _facts_of(proxy.address, experiment), self.folder)
            wrong = [end.words or "hung" for end in (begun, ended, synced, told) if end.words]
            wrong += runs.differences(told.answer or {}, self.expected) if not wrong else []
            tally.count(wrong)
        finally:
            proxy.close()

    # Many at once.

    def workers(self, times: int, say: Say) -> Tally:
        """Eight workers, four for each of two studies, on one SQLite store."""
        tally = Tally(f"{2 * WORKERS} workers on one SQLite store, two studies")
        while tally.tried < times:
            runs.fresh(self.template, self.world)
            url = f"sqlite:///{self.world}/optuna.db"
            ended = [child(partial(crowd.begin_study, self.uri, url, n), self.folder) for n in TWO]
            started = [
                begin(partial(crowd.work_on, self.uri, url, n), self.folder)
                for n in TWO
                for _ in range(WORKERS)
            ]
            ended += [wait() for wait in started]
            ended += [child(partial(crowd.faults_of, self.uri, url, n), self.folder) for n in TWO]
            wrong = [end.words or "hung" for end in ended if end.words or end.hung]
            wrong += [fault for end in ended[-2:] for fault in end.answer or []]
            tally.count(wrong)
            tally.note(f"{2 * crowd.JOBS} trials of {crowd.STEPS} steps each time")
            say(tally.line())
        return tally

    # Strangers' files.

    def mutants(self, times: int, say: Say) -> Tally:
        """Mutated files for every reader: answered, or refused in words."""
        logging.getLogger("core.tracking.delivery").setLevel(logging.ERROR)
        tally = Tally("mutated files")
        for name, wrong in fuzz(self.folder / "strangers", times, self.rng.randint(0, 99)):
            tally.tried += times
            tally.survived += times - sum(wrong.values())
            tally.lost += [f"{name}: {what}" for what in wrong]
            say(tally.line())
            tally.note("readers")
        return tally

    # Full disks.

    def full_disks(self, times: int, say: Say) -> Tally:
        """The disk fills at a random moment; after room was made the run goes on."""
        tally = Tally("full disk")
        # Children must find the world where the template's experiment keeps its artifacts.
        with _small_disk(self.world) as fill:
            if fill is None:
                tally.note("not tried: no small file system may be mounted here")
                return tally
            for _ in range(3 * times):
                if tally.tried == times:
                    break
                runs.fresh(self.template, self.world)
                fill(self.rng.randint(1, self.bytes))
                ended = [child(lambda: runs.work(self.uri), self.folder)]
                fill(None)
                if not ended[0].words:
                    tally.note("had room enough")
                    continue
                ended.append(child(lambda: runs.work(self.uri), self.folder))
                self.judge(tally, ended)
                say(tally.line())
        return tally


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _reach(address: str) -> None:
    from core.tracking.mlflow_store import open_tracker

    open_tracker(address).experiments()


def _train(address: str, experiment: str) -> str:
    from core.tracking import delivery
    from core.tracking.mlflow_store import open_tracker
    from experiments.runner import run

    delivery.RETRY_SECONDS = 0.1
    tracker = open_tracker(address)
    return run(runs.config(), tracker=tracker, experiment=experiment).outcome


def _sync(address: str) -> None:
    from core.tracking.mlflow_store import open_tracker

    found = open_tracker(address).sync()
    assert not found.away, found
    assert not found.busy, found


def _facts_of(address: str, experiment: str) -> dict[str, Any]:
    from core.tracking.mlflow_store import MlflowTracker, open_tracker

    tracker = open_tracker(address)
    real = MlflowTracker.runs
    MlflowTracker.runs = lambda self, _=None, **k: real(self, experiment, **k)  # type: ignore[method-assign,misc]
    return runs.facts(tracker.uri)


def _trouble(proxy: FaultyProxy, kind: str, waits: list[float], stop: threading.Event) -> None:
    """Now away, now back."""
    for number, wait in enumerate(waits):
        if stop.wait(wait):
            return
        proxy.set(kind if number % 2 == 0 else None)


@contextmanager
def _small_disk(place: Path) -> Iterator[Callable[[int | None], None] | None]:
    """A file system of its own at `place`; the callable leaves so many bytes free, None: all. None
    where this user may not mount one.
    """
    place.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if mounted and not _fills(place):
        subprocess.run(["umount", str(place)], check=False)
        mounted = False
    if not mounted:
        yield None
        return
    try:
        yield lambda room: _ballast(place, room)
    finally:
        for _ in range(50):
            if subprocess.run(["umount", str(place)], check=False).returncode == 0:
                break
            time.sleep(0.1)


def _fills(place: Path) -> bool:
    """Whether the file system has an end; some sandboxes mount one without."""
    file = place / "ballast"
    try:
        with file.open("wb") as out:
            for _ in range(80):
                out.write(bytes(1 << 20))
    except OSError:
        return True
    else:
        return False
    finally:
        file.unlink()


def _ballast(place: Path, room: int | None) -> None:
    file = place / "ballast"
    file.unlink(missing_ok=True)
    if room is not None:
        free = shutil.disk_usage(place).free
        with file.open("wb") as out:
            left = max(0, free - room)
            while left > 0:
                left -= out.write(b"\0" * min(left, 1 << 20))
