"""Several jobs taken from a queue at once and trained together.

Every job is an Optuna trial of its own, inside `optimize` with its heartbeat, which holds its
thread until it has ended. So each sits in a thread that does nothing but ask and wait, while the
main thread trains for all of them; they sit down one after another, and one after another they get
up.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from core.config import Config
from core.tracking.protocol import Tracker
from studies.running import queue as jobs
from studies.running.worker import RunResult, Worker
from studies.storage import alone

Order = Mapping[str, Any]  # what `Train` is asked, but for the tracker


class TrainTogether(Protocol):
    """Trains several configurations at once; `experiments.stacking.train_together`."""

    def __call__(
        self, tracker: Tracker, orders: Sequence[Order]
    ) -> Sequence[RunResult | BaseException]:
        """What each order came to: its result, or what it raised."""
        ...


class Seat:
    """A place for one job; to its worker it is who trains (`Train`)."""

    def __init__(self, worker: Worker) -> None:
        self.order: Order | None = None
        self.error: BaseException | None = None
        self._answer: RunResult | BaseException | None = None
        self._settled, self._answered = threading.Event(), threading.Event()
        self._worker = worker.with_train(self)
        self._thread = threading.Thread(target=self._sit, name="seat")

    def __call__(self, config: Config | None, *, tracker: Tracker, **rest: Any) -> RunResult:
        """See `Train`: ask, and wait for the answer."""
        self.order = {"config": config, **rest}
        self._settled.set()
        self._answered.wait()
        if isinstance(self._answer, BaseException):
            raise self._answer
        assert self._answer is not None
        return self._answer

    def sit_down(self) -> None:
        """Take a job; back when it has asked to be trained, or has been given up."""
        self._thread.start()
        self._settled.wait()

    def get_up(self, answer: RunResult | BaseException) -> None:
        """Tell the job what it came to; back when it has been told on."""
        self._answer = answer
        self._answered.set()
        if self._thread.is_alive():
            self._thread.join()

    def _sit(self) -> None:
        try:
            self._worker.take_one()
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            self.error = error
        finally:
            self._settled.set()


def take_together(worker: Worker, most: int, train: TrainTogether) -> None:
    """Take the next stack of the queue, up to so many jobs, if they are still there, and run them
    together. No other worker takes any while they are taken, which would tear stacks.
    """
    taken: list[Seat] = []
    answers: Sequence[RunResult | BaseException] = ()
    queue = worker.queue
    try:
        with alone(queue._storage, f"take {queue.study_name}", worker.tracker.store_dir):
            for _ in range(jobs.waiting_together(queue, most)):
                taken.append(Seat(worker))
                taken[-1].sit_down()
        asking = [seat for seat in taken if seat.order is not None]
        answers = train(worker.tracker, [seat.order for seat in asking if seat.order is not None])
        for seat, answer in zip(asking, answers, strict=True):
            seat.get_up(answer)
    except BaseException as error:
        for seat in taken:
            seat.get_up(error)
        raise
    for seat in taken:
        if seat.error is not None:
            raise seat.error
