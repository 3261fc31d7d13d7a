"""The loop. It walks the phases that the schedule gives and asks for nothing by name.

batch -> phases (D on real and drawn words, G through its estimator, or likelihood)
      -> average -> log -> evaluate -> save
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from core import checkpoint
from core.batches import Batches
from core.checkpoint import Checkpoint, Counters
from core.config import Config
from core.phases import Progress
from core.players import Players, as_module
from core.shares import ALONE, Share
from core.steps import Diverged, Steps

Log = Callable[[Mapping[str, float | None], int], None]
CLOCKS = {"wall": time.monotonic, "cpu": time.process_time}


class Stopped(Exception):  # noqa: N818 - it is no error
    """Whoever watches the run has seen enough; says why."""


class Trainer:
    """One run: its players, its data, its randomness, and how far it has come."""

    def __init__(
        self,
        config: Config,
        players: Players,
        batches: Batches,
        device: torch.device,
        log: Log,
        share: Share = ALONE,
    ) -> None:
        self.config, self.players = config, players
        self.steps = Steps(config, players, batches, device, share)
        self.counters = Counters()
        self._log, self._interrupted = log, False
        self._clock = CLOCKS[config.train.clock]

    def train(self, evaluate: Callable[[], None], save: Callable[[], None]) -> None:
        """Run to the end of the budget; Diverged when a number is not finite, or too large."""
        train, counters, share = self.config.train, self.counters, self.steps.share
        evaluate = self._beside(evaluate)
        if counters.update == 0:
            evaluate()
            if train.rollback is not None:
                save()  # something to go back to
        while not self._budget_spent():
            began = self._clock()
            progress = Progress(counters.update, counters.losses, self.steps.batches.per_epoch)
            self.steps.begin()
            for phase in self.players.schedule.phases(progress):
                self.steps.play(phase, self.progress, counters)
            self._average()
            counters.update += 1
            counters.seconds += share.of_leader(self._clock() - began)
            last = self._budget_spent()
            if counters.update % train.log_every == 0 or last:
                self._log(self._curves(), counters.update)
            evaluates = counters.update % self.config.evaluation.every == 0 or last
            saves = counters.update % train.checkpoint_every == 0 or last
            if evaluates or saves:
                self._check_weights()
            if evaluates:
                evaluate()
            stops = share.any(self._interrupted)
            if saves or stops:
                save()
            if stops:
                raise KeyboardInterrupt

    def interrupt(self) -> None:
        """Save and stop at the end of this update: a state in its middle could not go on."""
        self._interrupted = True

    def _beside(self, evaluate: Callable[[], None]) -> Callable[[], None]:
        """The same, with its time counted apart: how long judging a system takes is its own, so a
        budget that held it would give some systems less training than others.
        """

        def timed() -> None:
            began = self._clock()
            try:
                evaluate()
            finally:
                self.counters.evaluating += self._clock() - began

        return timed

    def roll_back(self, saved: Checkpoint | None) -> bool:
        """Go back to `saved`, once a run, with smaller rates; False where that is not asked for."""
        if self.config.train.rollback is None or self.counters.rollbacks or saved is None:
            return False
        self.restore(saved)
        self.counters.rollbacks = 1
        return True

    def _check_weights(self) -> None:
        """What is drawn from, scored and saved is finite."""
        for name, module in self.players.modules():
            for key, weight in module.state_dict().items():
                if not bool(torch.isfinite(weight).all()):
                    words = f"weights {name}.{key} not finite after update {self.counters.update}"
                    raise Diverged(words, self.steps.values)

    @property
    def progress(self) -> float:
        """0 at the start of the budget, 1 at its end; of the budget that is nearer its end."""
        train, shares = self.config.train, [0.0]
        if train.updates:
            shares.append(self.counters.update / train.updates)
        if train.minutes:
            shares.append(self.counters.seconds / (60 * train.minutes))
        return min(1.0, max(shares))

    def _budget_spent(self) -> bool:
        train = self.config.train
        enough = train.updates is not None and self.counters.update >= train.updates
        return enough or (train.minutes is not None and self.counters.seconds >= 60 * train.minutes)

    def _average(self) -> None:
        players, n = self.players, self.counters.update
        if players.averaged is players.generator:
            return
        # Short at first, so that the untrained weights are soon forgotten.
        decay = min(self.config.train.ema, (1 + n) / (10 + n))
        with torch.no_grad():
            averaged = as_module(players.averaged).parameters()
            for mean, new in zip(averaged, as_module(players.generator).parameters(), strict=True):
                mean.lerp_(new, 1 - decay)

    def _curves(self) -> dict[str, float | None]:
        counters = self.counters
        rate = counters.update / max(counters.seconds, 1e-9)
        return {
            **self.steps.values,
            "train/updates_per_second": rate,
            "train/mean_difference": self.steps.mean_difference(),
        }

    # All that resuming needs.

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the rest of the run depends on."""
        tensors: dict[str, Tensor] = {}
        for name, module in self.players.modules():
            tensors |= checkpoint.module_tensors(name, module)
        for name, optimiser in self.players.optimisers():
            tensors |= checkpoint.optimiser_tensors(name, optimiser)
        return tensors | {f"random.{k}": v for k, v in self.steps.streams.state().items()}

    def restore(self, saved: Checkpoint) -> None:
        """Go on where `saved` was taken."""
        for name, module in self.players.modules():
            module.load_state_dict(saved.group(f"weights.{name}"))
        for name, optimiser in self.players.optimisers():
            checkpoint.load_optimiser(optimiser, saved.group(f"optimiser.{name}"))
        self.steps.streams.restore(saved.group("random"))
        self.counters = saved.counters
