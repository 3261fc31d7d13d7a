"""Who walks the loops of runs (`core.train`): one run alone, or several together.

A walk gives the next phase that is to be played and hears of it if playing it went wrong, at the
very place in its loop where a run alone hears of it. So each of several runs logs, evaluates,
saves, diverges and ends by itself; only the phases that they have come to at the same time are one
program.

A run that was begun in a stack goes on as in one (`Counters.stacked`), also when no other is left
there or it is gone on with by itself: so what it comes to does not hang on what others came to.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Generic, TypeVar

from core.phases import Phase
from core.stackable import shape_of
from core.stacked_steps import play_together
from core.train import Trainer

R = TypeVar("R")
Walk = Generator[Phase, None, R]


class Walker(Generic[R]):
    """A run on its way: the phase that it waits for, or what it came to."""

    def __init__(self, walk: Walk[R], trainer: Trainer) -> None:
        self._walk, self.trainer = walk, trainer
        self.phase: Phase | None = None
        self.result: R | None = None
        self.error: BaseException | None = None
        self._shape = shape_of(trainer.config)
        self.go_on()

    def go_on(self, wrong: BaseException | None = None) -> None:
        """To the next phase; `wrong` is what playing the last one came to."""
        self.phase = None
        try:
            self.phase = next(self._walk) if wrong is None else self._walk.throw(wrong)
        except StopIteration as end:
            self.result = end.value
        except BaseException as error:  # noqa: BLE001 - whoever asked for the run gets it
            self.error = error

    def kind(self) -> object:
        """The same for runs whose next phases are one program."""
        trainer = self.trainer
        if not trainer.counters.stacked:
            return id(self)
        length = trainer.players.drawing(trainer.config, trainer.progress).length
        return self.phase, length, self._shape


def walk_alone(walk: Walk[R], trainer: Trainer) -> R:
    """One run to its end."""
    walker = Walker(walk, trainer)
    while walker.phase is not None:
        walker.go_on(_played([walker])[0])
    if walker.error is not None:
        raise walker.error
    return walker.result  # type: ignore[return-value]


def walk_together(walkers: Sequence[Walker[R]]) -> None:
    """All runs to their ends, which each of them keeps."""
    while True:
        groups: dict[object, list[Walker[R]]] = {}
        for walker in walkers:
            if walker.phase is not None:
                groups.setdefault(walker.kind(), []).append(walker)
        if not groups:
            return
        for group in groups.values():
            for walker, wrong in zip(group, _played(group), strict=True):
                walker.go_on(wrong)


def _played(group: Sequence[Walker[R]]) -> list[BaseException | None]:
    """Play the phase that all of these wait for; what went wrong with each."""
    trainers, phase = [walker.trainer for walker in group], group[0].phase
    assert phase is not None
    try:
        if trainers[0].counters.stacked:
            diverged = play_together(phase, trainers)
            return [diverged.get(place) for place in range(len(group))]
        (trainer,) = trainers
        trainer.steps.play(phase, trainer.progress, trainer.counters)
    except BaseException as error:  # noqa: BLE001 - heard in the run's own loop
        return [error] * len(group)
    return [None] * len(group)
