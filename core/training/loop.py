"""The training loop, in the order in which things happen.

while the budget lasts:
    for each phase that the schedule gives:  D, G through its estimator, likelihood, or a
                                             system's own loss
    update the moving average of G's weights; count the update
    log, evaluate, save, each when it is due
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from core.nn.discriminator_input import mean_difference
from core.process import denormals_are_zero
from core.training import data_parallel
from core.training.discriminator_step import discriminator_step, draw_fakes
from core.training.generator_step import generator_step
from core.training.likelihood_step import likelihood_step
from core.training.optimisation import check_weights, prepare_optimiser, update_average
from core.training.state import TrainingState
from core.training.system_step import system_step
from core.types import Phase, Progress

Log = Callable[[Mapping[str, float | None], int], None]  # values by name, update
CLOCKS = {"wall": time.monotonic, "cpu": time.process_time}


class Stopped(Exception):  # noqa: N818 - not an error
    """A callback ends the run early, such as a pruner; the text says why."""


class Trainer:
    """Trains one run. `log` is given the numbers of training."""

    def __init__(self, state: TrainingState, log: Log) -> None:
        self.state, self.config, self.log = state, state.config, log
        self.clock = CLOCKS[state.config.train.clock]
        self._interrupted = False

    def train(self, evaluate: Callable[[], None], save: Callable[[], None]) -> None:
        """Train to the end of the budget, or until `train.stop` ends the run. Diverged if a number
        is not finite, or too large.
        """
        state, counters, settings = self.state, self.state.counters, self.config.train
        if counters.update == 0 and not counters.evaluation:  # else it resumes from here
            self._timed(evaluate)
            if settings.rollback is not None:
                save()  # something to go back to
        while not state.ended():
            start = self.clock()
            # What belongs to one update only.
            state.metrics, state.last_seen = {}, None
            state.of_generator_step, state.of_discriminator_step = None, None
            phases = self._phases()
            for phase in phases:
                train_phase(state, phase)
            update_average(state)
            data_parallel.broadcast_buffers(module for _, module in state.players.modules())
            counters.update += 1
            counters.seconds += data_parallel.broadcast(self.clock() - start)
            if any(phase.pretraining for phase in phases):
                counters.pretraining = counters.update, counters.seconds

            last = state.budget_spent()
            evaluation_due = counters.update % self.config.evaluation.every == 0 or last
            save_due = counters.update % settings.checkpoint_every == 0 or last
            save_due = save_due or counters.update in (settings.keep_at or ())
            if counters.update % settings.log_every == 0 or last:
                self.log(self._metrics(), counters.update)
            interrupted = data_parallel.any_rank(self._interrupted)
            if evaluation_due or save_due or interrupted:
                check_weights(state)
            if evaluation_due:
                self._timed(evaluate)
            if save_due or interrupted or state.ended():
                save()
            if interrupted:
                raise KeyboardInterrupt

    def interrupt(self) -> None:
        """Save and stop at the end of this update: only a state between updates can be resumed."""
        self._interrupted = True

    def _phases(self) -> list[Phase]:
        """The phases of the update about to run."""
        state, counters = self.state, self.state.counters
        per_epoch = max(1, state.batches.per_epoch // data_parallel.world_size())
        progress = Progress(counters.update, counters.losses, per_epoch)
        phases = list(state.players.schedule.phases(progress))
        adversary = state.players.adversary
        of_D = [phase for phase in phases if phase.player == "discriminator"]
        begins = any(phase.reset_optimiser for phase in of_D)
        if adversary and adversary.plan.drawn_by == "generator" and not begins:
            # G first, because D trains on the sentences of G's step. In the update that begins
            # adversarial training D is first, because it may take over weights of G.
            phases = [phase for phase in phases if phase not in of_D] + of_D
        return phases

    def _timed(self, evaluate: Callable[[], None]) -> None:
        """Evaluate, with its time counted apart: a budget of minutes holds only training, so that
        systems that are slow to evaluate are not trained less.
        """
        start = self.clock()
        try:
            evaluate()
        finally:
            self.state.counters.evaluating += self.clock() - start

    def _metrics(self) -> dict[str, float | None]:
        """The numbers of this update's training."""
        state, counters = self.state, self.state.counters
        difference = None
        if state.last_seen is not None:
            vocabulary = state.players.generator.head.out_features
            difference = float(mean_difference(*state.last_seen, vocabulary))
        return {
            **state.metrics,
            "train/updates_per_second": counters.update / max(counters.seconds, 1e-9),
            "train/mean_difference": difference,
        }


@denormals_are_zero()
def train_phase(state: TrainingState, phase: Phase) -> None:
    """All steps of one phase."""
    prepare_optimiser(state, phase)
    if phase.reset_optimiser:  # the player's first adversarial steps
        state.players.end_pretraining(phase.player)
    steps = range(phase.repeats)  # the generators below make a step when the loop asks for its loss
    if callable(phase.loss):
        losses = (system_step(state, phase) for _ in steps)
    elif phase.player == "discriminator":  # its fakes are drawn together
        losses = (discriminator_step(state, fake) for fake in draw_fakes(state, phase.repeats))
    elif phase.loss == "adversarial":
        losses = (generator_step(state) for _ in steps)
    else:
        losses = (likelihood_step(state) for _ in steps)
    for loss in losses:
        state.record_loss(phase.player, loss)
