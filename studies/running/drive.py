"""The driver of a study: starts the workers of this machine and shows how far they are."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

import optuna

from core.errors import MachineError
from core.process import environment
from core.tracking.protocol import RunTracker
from studies.running.progress import Progress, progress
from studies.running.queue import load_queue
from studies.table import StudyTable

POLL_SECONDS = 1.0
SHARE = 50  # a look at the queue reads every job; looking takes a 50th of the time at most
Watch = Callable[[Progress], None]


def drive(
    name: str,
    url: str,
    table: StudyTable,
    workers: int,
    run_worker: Callable[[], None],
    command: Sequence[str],
    watch: Watch,
) -> None:
    """Work here with one worker, or start `workers` processes of `command`; `watch` hears how far
    the study is.
    """
    if workers == 1:
        with _Watching(name, url, table, watch):
            run_worker()
        return
    queue = load_queue(name, url)
    # In groups of their own: the terminal's Ctrl-C comes to us alone, and from us once to each.
    processes = [
        subprocess.Popen(command, env=environment(), process_group=0) for _ in range(workers)
    ]
    due = time.monotonic()
    try:
        while any(process.poll() is None for process in processes):
            if time.monotonic() >= due:
                due = time.monotonic() + look(queue, table, watch)
            time.sleep(POLL_SECONDS)
    except BaseException:
        _end(processes)
        raise
    finally:
        watch(progress(queue, table))
    broken = [process.returncode for process in processes if process.returncode]
    if broken and not progress(queue, table).done:
        raise MachineError(f"every worker of study {name!r} failed (exit status {broken[0]})")


def look(queue: optuna.Study, table: StudyTable, watch: Watch) -> float:
    """Let `watch` hear how far the queue is; seconds until the next look."""
    before = time.thread_time()
    watch(progress(queue, table))
    return max(POLL_SECONDS, SHARE * (time.thread_time() - before))


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Hand the interrupt on: workers end after their step, and at a second one at once. SIGTERM,
    since who was started in the background of a script does not hear SIGINT.
    """
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    try:
        for process in processes:
            process.wait()
    except KeyboardInterrupt:
        _end(processes)
        raise


class _Watching:
    """A thread that looks at the queue while this process works."""

    def __init__(self, name: str, url: str, table: StudyTable, watch: Watch) -> None:
        self._name, self._url, self._table, self._watch = name, url, table, watch
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="watching", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _go_on(self) -> None:
        queue: optuna.Study = load_queue(self._name, self._url)
        pause = POLL_SECONDS
        while not self._over.wait(pause):
            pause = look(queue, self._table, self._watch)
        self._watch(progress(queue, self._table))


def to_record(record: RunTracker, workers: int) -> Watch:
    """A watch that logs to the study's run, a point whenever another run has ended."""
    seen = -1

    def watch(state: Progress) -> None:
        nonlocal seen
        ended = state.done + state.failed
        if ended == seen:
            return
        seen = ended
        left = state.seconds_left(workers)
        values = {
            "study/runs_ended": float(ended),
            "study/runs_planned": float(state.total),
            "study/best": state.best,
            "study/seconds_left": left,
        }
        record.log_metrics(values, ended)

    return watch
