"""Judgements of several texts at the same time, each in a process of its own.

A judgement is a pure function of its texts, seeded and with one thread, so it has the same bits in
any process. Those of baselines can be kept in a folder, under a fingerprint of both texts.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache, partial
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from core.errors import MachineError
from core.files import write_atomically
from core.metrics.catalogue import GROUPS
from core.metrics.ngrams import Text
from core.process import usable_cores
from core.text.oracles import Oracle

LEAST = 1000  # sentences of each text; fewer are judged in less time than a process needs to start
INTERRUPTS = {signal.SIGINT, signal.SIGTERM}
Judged = tuple[np.ndarray, np.ndarray, np.ndarray]  # what `judge.judged` returns
Judgement = Callable[[], Judged]  # waits for it; MachineError if its process was killed


class Judgements:
    """Judgements in a pool of `processes`; with 1 they run in this process. `folder` keeps those of
    baselines; None: nothing is kept.
    """

    def __init__(self, processes: int, folder: Path | None = None) -> None:
        self._folder = folder
        self._started: dict[str, Judgement] = {}
        self._processes: dict[int, BaseProcess] = {}
        # Not forked: a fork of a process with threads may hang.
        self._pool = processes > 1 and ProcessPoolExecutor(
            processes, mp_context=get_context("spawn"), initializer=_end_with_the_parent
        )

    def start(
        self, samples: Text, references: Text, oracle: Oracle | None, *, keep: bool
    ) -> Judgement | None:
        """Start a judgement, or queue it; None if the texts are too small to be worth it. With
        `keep` it is that of a baseline.
        """
        if len(samples) < LEAST:
            return None
        key = _fingerprint(samples, references, oracle)
        file = self._folder / f"judgement_{key}.npz" if self._folder and keep else None
        if key not in self._started:
            if file is not None and file.exists():
                self._started[key] = partial(_read, file)
            else:
                computed = self._computed(samples, references, oracle)
                self._started[key] = cache(partial(_kept, file, computed))
        return self._started[key]

    def _computed(self, samples: Text, references: Text, oracle: Oracle | None) -> Judgement:
        if not self._pool:
            return partial(_judged, samples, references, oracle)
        # A new process inherits the mask: interrupts are for the parent, which ends the others. And
        # none comes before the process is known.
        resource_tracker.ensure_running()  # its own start, with the first process, unblocks signals
        before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
        try:
            with _killed_in_words():
                future = self._pool.submit(_judged, samples, references, oracle)
            self._processes |= self._pool._processes  # which forgets them in `finish`
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return future.result

    def finish(self) -> None:
        """Start no more: a process that has nothing left to do frees its memory."""
        if self._pool:
            self._pool.shutdown(wait=False)

    def kill(self) -> None:
        """End all processes, whatever they do."""
        if self._pool:
            for process in {**self._processes, **(self._pool._processes or {})}.values():
                process.kill()
            self._pool.shutdown(cancel_futures=True)


@contextmanager
def in_processes(folder: Path | None) -> Iterator[Judgements]:
    """Judgements on all usable cores; their processes end with the block."""
    judgements = Judgements(usable_cores(), folder)
    try:
        yield judgements
    finally:
        judgements.kill()


def _kept(file: Path | None, computed: Judgement) -> Judged:
    with _killed_in_words():
        bits, fold, group = computed()
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, bits=bits, fold=fold, group=group)
        write_atomically(file, buffer.getvalue())
    return bits, fold, group


@contextmanager
def _killed_in_words() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        raise MachineError(
            "a process that computed jsd_bound was killed, perhaps for lack of memory: it needs "
            "up to 2 GB for each core; allow fewer cores, such as taskset --cpu-list 0 textgan ..."
        ) from None


def _read(file: Path) -> Judged:
    with np.load(file) as arrays:
        return arrays["bits"], arrays["fold"], arrays["group"]


def _fingerprint(samples: Text, references: Text, oracle: Oracle | None) -> str:
    known = [GROUPS["jsd_bound"].version, samples, references, oracle and oracle.name]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:24]


def _judged(samples: Text, references: Text, oracle: Oracle | None) -> Judged:
    from threadpoolctl import threadpool_limits

    from core.metrics.judge import judged  # imports torch, which takes seconds

    with threadpool_limits(1):
        return judged(samples, references, oracle)


def _end_with_the_parent() -> None:
    """End this process when its parent has ended, however that was."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
