"""Children of this process: each does one thing, and may be killed while it does.

They are forked from a process that has imported everything and opened nothing, so a hundred of them
cost no more than what they do.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HANG_SECONDS = 60.0  # nothing may take longer, on a machine where a run takes BASE_SECONDS
BASE_SECONDS = 6.0
POLL_SECONDS = 0.01
WATCHED = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate",
           "sqlite3.connect"}  # fmt: skip
PARTS = ("checkpoint", "journal", "artifacts", "mlflow.db", "optuna.db", "model", "runs")


@dataclass(frozen=True)
class Ended:
    """How a child ended: `answer` of one that came to its end, `words` of one that raised."""

    answer: Any = None
    words: str = ""
    killed: bool = False
    hung: bool = False
    traceback: str = ""
    steps: int = 0  # in the file system, that were watched
    at: str = ""  # what the step was about, before which it was killed
    died: int = 0  # of which signal, where nobody meant to kill it
    seconds: float = 0.0  # that it took


@dataclass(frozen=True)
class Kill:
    """SIGKILL after so many seconds, or right before the child's n-th step in the file system."""

    seconds: float | None = None
    step: int | None = None


@dataclass
class Pace:
    """How slow this machine is; what is a hang depends on it, and on what else runs just now."""

    factor: float = 20.0  # until a run has been timed

    @property
    def hang(self) -> float:
        """Seconds after which a child hangs."""
        crowd = os.getloadavg()[0] / (os.cpu_count() or 1)
        return HANG_SECONDS * max(1.0, self.factor) * max(1.0, crowd)


PACE = Pace()


def child(
    act: Callable[[], Any],
    folder: Path,
    kill: Kill | None = None,
    beat: Path | None = None,
    patience: float | None = None,
) -> Ended:
    """Do `act` in a child and wait for its end; its answer is JSON."""
    return begin(act, folder, kill, beat, patience)()


def begin(
    act: Callable[[], Any],
    folder: Path,
    kill: Kill | None = None,
    beat: Path | None = None,
    patience: float | None = None,
) -> Callable[[], Ended]:
    """Start doing `act` in a child; what is given back waits for its end. A child hangs when it is
    not done in `patience` seconds (else as the pace is); one with a `beat`, a file that it writes
    to, when it has not done so for that long.
    """
    place = folder / f"answer-{time.monotonic_ns()}.json"
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _be(act, place, kill)
    began = time.time()
    return lambda: _wait(pid, place, kill, began, beat, patience)


def _be(act: Callable[[], Any], place: Path, kill: Kill | None) -> None:
    status = 1
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        seen = _watch(kill.step or 0, place) if kill is not None else [0]
        try:
            document: dict[str, Any] = {"answer": act()}
        except BaseException as error:  # noqa: BLE001 - what it says is what is looked at
            known = type(error).__name__ in ("InputError", "MachineError")
            document = {
                "words": f"{type(error).__name__}: {error}",
                "traceback": "" if known else traceback.format_exc(),
            }
        place.write_text(json.dumps({**document, "steps": seen[0]}))
        status = 0
    finally:
        os._exit(status)


def _watch(fatal: int, answer: Path) -> list[int]:
    """Count steps in the file system, below the folder of the answer; be killed right before step
    `fatal`, counted from 1, having written down what it is about.
    """
    seen = [0]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event not in WATCHED or not arguments or str(answer.parent) not in str(arguments[0]):
            return
        seen[0] += 1
        if seen[0] == fatal:
            about = str(arguments[0])
            word = next((part for part in PARTS if part in about), "something else")
            answer.with_suffix(".at").write_text(word)
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return seen


def _wait(
    pid: int,
    place: Path,
    kill: Kill | None,
    began: float,
    beat: Path | None,
    patience: float | None,
) -> Ended:
    deadline = kill.seconds if kill is not None and kill.seconds is not None else None
    hung = False
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        passed = time.time() - began
        if done:
            break
        since = beat.stat().st_mtime if beat is not None and beat.exists() else began
        hung = time.time() - max(since, began) > (patience or PACE.hang)
        if hung or (deadline is not None and passed > deadline):
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            break
        time.sleep(POLL_SECONDS)
    if not place.exists():
        said = place.with_suffix(".at")
        at = said.read_text() if said.exists() else ""
        killed = os.WIFSIGNALED(status)
        died = os.WTERMSIG(status) if killed and not hung and kill is None else 0
        return Ended(killed=killed, hung=hung, at=at, seconds=passed, died=died)
    document = json.loads(place.read_text())
    place.unlink()
    return Ended(**document, seconds=passed)
