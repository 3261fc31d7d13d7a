"""A queue in a journal file that several machines share: each job once, lost workers noticed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from core.errors import InputError, MachineError, TextganError
from core.tracking.memory import MemoryTracker
from studies.running.execute import begin, work
from studies.running.queue import latest, load_queue, sweep
from studies.running.storage import BEAT, GRACE_SECONDS, open_storage
from tests.studies.test_studies import NAME, FakeTraining, plan
from variants import registry

FEW = ('study.axes.next_input=["noise"]', "study.seeds=2")  # 4 variants, 8 runs
FORK = multiprocessing.get_context("fork")  # the tracker in memory is then known to the workers


@pytest.fixture
def begun(tmp_path: Path) -> tuple[MemoryTracker, str]:
    tracker, url = MemoryTracker(tmp_path / "store"), f"journal://{tmp_path}/study.log"
    begin(plan(*FEW), NAME, tracker, url, "")
    return tracker, url


def started(work_of: Callable[[], None]) -> Any:
    process = FORK.Process(target=work_of)
    process.start()
    return process


def slow(variant: str, seed: int) -> None:
    time.sleep(0.05)


def test_two_processes_share_the_jobs(begun: tuple[MemoryTracker, str]) -> None:
    tracker, url = begun
    workers = [
        started(lambda: work(NAME, tracker, url, FakeTraining(breaks=slow), registry()))
        for _ in range(2)
    ]
    for worker in workers:
        worker.join(60)
    queue = load_queue(NAME, url)
    states = [trial.state for trial in latest(queue).values()]
    assert states == [TrialState.COMPLETE] * 8
    done = [t for t in queue.trials if t.state == TrialState.COMPLETE]
    assert len(done) == 8, "each once"
    assert {t.user_attrs["process"][1] for t in done} == {worker.pid for worker in workers}


def test_a_killed_workers_job_goes_to_another(begun: tuple[MemoryTracker, str]) -> None:
    tracker, url = begun
    hangs = FakeTraining(breaks=lambda variant, seed: time.sleep(600))  # type: ignore[func-returns-value]
    killed = started(lambda: work(NAME, tracker, url, hangs, registry()))
    while not [t for t in load_queue(NAME, url).trials if "run_id" in t.user_attrs]:
        time.sleep(0.05)
    time.sleep(0.3)  # one that is killed while it holds the file's lock delays others by 30 s
    os.kill(killed.pid, signal.SIGKILL)
    killed.join(20)
    queue = load_queue(NAME, url)
    sweep(queue)
    work(NAME, tracker, url, training := FakeTraining(), registry())
    assert len(training.seen) == 8
    states = [t.state for t in queue.trials]
    assert (states.count(TrialState.FAIL), states.count(TrialState.COMPLETE)) == (1, 8)


def test_a_silent_worker_of_another_machine_is_lost(begun: tuple[MemoryTracker, str]) -> None:
    _, url = begun
    queue = load_queue(NAME, url)
    alive, silent = queue.ask(), queue.ask()
    for trial, age in ((alive, 0), (silent, GRACE_SECONDS + 1)):
        trial.set_user_attr("process", ["elsewhere", 1, trial.number])
        trial.set_user_attr(BEAT, time.time() - age)
    sweep(queue)
    states = [queue.trials[each.number].state for each in (alive, silent)]
    assert states == [TrialState.RUNNING, TrialState.FAIL]
    assert latest(queue)[silent.user_attrs["variant"], silent.user_attrs["seed"]].state == (
        TrialState.WAITING
    )


def test_a_worker_beats(begun: tuple[MemoryTracker, str]) -> None:
    tracker, url = begun
    work(NAME, tracker, url, FakeTraining(), registry())
    beats = [trial.user_attrs[BEAT] for trial in load_queue(NAME, url).trials]
    assert time.time() - 60 < min(beats) <= max(beats) <= time.time()
    assert socket.gethostname() == load_queue(NAME, url).trials[0].user_attrs["process"][0]


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("journal://study.log", InputError, "must be journal:///FOLDER/FILE"),
        ("journal:///nowhere/study.log", InputError, "a folder that exists"),
        ("journal://{folder}", InputError, "must be journal:///FOLDER/FILE"),
        ("journal://{folder}/prose.txt", MachineError, "not a journal of Optuna"),
        ("journal:///proc/study.log", MachineError, "not a journal of Optuna that opens"),
    ],
)
def test_what_is_no_journal_gets_words(
    url: str, error: type[TextganError], words: str, tmp_path: Path
) -> None:
    (tmp_path / "prose.txt").write_text("not a journal\n" * 9)
    before = (tmp_path / "prose.txt").read_text()
    with pytest.raises(error, match=words) as refused:
        open_storage(url.format(folder=tmp_path))
    assert len(str(refused.value).splitlines()) == 1
    assert (tmp_path / "prose.txt").read_text() == before


def test_a_line_that_was_cut_is_named(begun: tuple[MemoryTracker, str]) -> None:
    _, url = begun
    file = Path(url.removeprefix("journal://"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    open_storage(url)  # the entry is not whole, so it is not there
    file.write_bytes(whole[:-20] + whole[whole.rindex(b'{"op') :] * 2)
    with pytest.raises(MachineError, match=f"line {len(whole.splitlines())} is not JSON"):
        open_storage(url)
