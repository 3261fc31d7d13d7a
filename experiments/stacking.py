"""Several runs at once, those of equal shape as one program (`core.stacked_steps`).

Each keeps its own record, folder, checkpoints and end, as if it had been trained alone; the tag
`stacked` says how many were begun with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from core.config import Config
from core.stackable import STACKED, shape_of, why_alone
from core.tracking.protocol import Tracker
from core.walks import Walker, walk_together
from experiments.course import Run
from experiments.interrupts import gentle_interrupts
from experiments.runner import open_run
from experiments.wanted import Prepared, Result, Wanted, look_up

Answer = Result | BaseException
Place = int


def train_together(tracker: Tracker, orders: Sequence[Mapping[str, Any]]) -> list[Answer]:
    """Train what each order asks of `experiments.runner.run`; its result, or what it raised.

    An interrupt ends all of them after the update that is being made, resumable.
    """
    wants = [Wanted(**order) for order in orders]
    answers: dict[Place, Answer] = {}
    known: dict[Place, Prepared] = {}
    for place, wanted in enumerate(wants):
        with _answering(answers, place):
            found = look_up(wanted, tracker)
            if isinstance(found, Prepared):
                known[place] = found
            else:
                answers[place] = found
    stop = _Stop()
    with gentle_interrupts(stop):
        for stack in _stacks({place: each.config for place, each in known.items()}):
            runs = {}
            for place in stack:
                with _answering(answers, place):
                    runs[place] = _open(wants[place], known[place], tracker, len(stack))
            answers |= _walked(runs, stop)
    return [answers[place] for place in range(len(wants))]


def train_as_in_a_stack(tracker: Tracker, order: Mapping[str, Any]) -> Result:
    """Train one run with the steps of a stack, as when it had others beside it."""
    (answer,) = train_together(tracker, [{**order, "stacked": True}])
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _stacks(configs: Mapping[Place, Config]) -> list[list[Place]]:
    """Runs that may be one program beside each other; each other one by itself."""
    stacks: dict[str, list[Place]] = {}
    for place, config in configs.items():
        key = f"alone {place}" if why_alone(config) else shape_of(config)
        stacks.setdefault(key, []).append(place)
    return list(stacks.values())


def _open(wanted: Wanted, known: Prepared, tracker: Tracker, together: int) -> Run:
    run = open_run(wanted, known, tracker)
    counters = run.trainer.counters
    if counters.update == 0 and (together > 1 or wanted.stacked):
        counters.stacked = True
        run.record.set_tags({STACKED: str(together)})
    return run


def _walked(runs: Mapping[Place, Run], stop: _Stop) -> dict[Place, Answer]:
    """Walk them to their ends."""
    if stop.heard:
        return dict.fromkeys(runs, KeyboardInterrupt())
    stop.notes = [run.trainer.interrupt for run in runs.values()]
    walkers = {
        place: Walker(run.walk(lambda _: contextlib.nullcontext()), run.trainer)
        for place, run in runs.items()
    }
    walk_together(list(walkers.values()))
    return {place: _answer(walker) for place, walker in walkers.items()}


def _answer(walker: Walker[Result]) -> Answer:
    answer = walker.result or walker.error
    assert answer is not None
    return answer


class _Stop:
    """What an interrupt calls."""

    def __init__(self) -> None:
        self.heard = False
        self.notes: list[Callable[[], None]] = []

    def __call__(self) -> None:
        self.heard = True
        for note in self.notes:
            note()


@contextlib.contextmanager
def _answering(answers: dict[Place, Answer], place: Place) -> Iterator[None]:
    """What goes wrong inside is one run's answer, and does not end the others."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - raised again where the run was asked for
        answers[place] = error
