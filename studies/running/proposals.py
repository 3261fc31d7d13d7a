"""Optuna's study of one arm, which proposes the arm's settings.

It is called `STUDY / ARM` and holds proposals and their values only, so samplers see a plain
search. Every proposal has a new sampler, seeded by the study, the arm and the trial's place: a
proposal depends on the results before it, not on the process that asks.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from core.config.renamed import current_settings, stored_keys
from core.errors import InputError
from studies.running.storage import open_storage
from studies.space import Arm, as_drawn

ARM_OF = " / "  # between a study and its arm in the name of an Optuna study
STARTUP = 0.25  # share of the trials that are drawn at random before a sampler learns
WARMUP = 1  # updates of a trial before it may be pruned: not at the evaluation of update 0
# Where Optuna's samplers and optuna-dashboard read constraints: a list, at most 0 where kept.
# optuna-dashboard 0.21 does not know those of Optuna 5's `Trial.set_constraint`.
CONSTRAINTS = "constraints"
LEAST_EXCESS = 1.0  # of a constraint whose value is unknown, at least


@dataclass(frozen=True)
class Proposal:
    """Settings to try."""

    number: int  # of the arm's Optuna trial
    settings: dict[str, Any]
    published: bool


class Proposals:
    """The proposals of one arm of a study that was begun."""

    def __init__(self, study: str, arm: Arm, url: str) -> None:
        self.arm, self._storage = arm, open_storage(url, beats=False)
        self._name = f"{study}{ARM_OF}{arm.name}"
        self._space = {key: each.distribution() for key, each in arm.space.items()}

    def begin(self) -> None:
        """Create the arm's Optuna study: published settings first, then an earlier study's."""
        earlier = [] if self.arm.warm_start is None else self._earlier(self.arm.warm_start)
        found = optuna.create_study(
            storage=self._storage,
            study_name=self._name,
            directions=["maximize" if up else "minimize" for up in self.arm.higher],
        )
        found.set_metric_names([metric.partition("/")[2] for metric in self.arm.metrics])
        found.set_user_attr(CONSTRAINTS, [str(each) for each in self.arm.constraints])
        for place, settings in enumerate(self.arm.published):
            drawn = as_drawn(self.arm.space, settings)
            # Only the system's own run again in any case; further ones must be among the best.
            found.enqueue_trial(drawn, user_attrs={"published": place == 0})
        found.add_trials(earlier)

    def ask(self, place: int) -> Proposal:
        """The next settings."""
        study = self._load(place)
        stored = _as_stored(study, self._space)
        trial = study.ask(dict(stored.values()))
        settings = {k: e.value(trial.params[stored[k][0]]) for k, e in self.arm.space.items()}
        return Proposal(trial.number, settings, bool(trial.user_attrs.get("published", False)))

    def should_stop(self, number: int, step: int, value: float) -> bool:
        """Report a point of the validation curve; whether to prune the trial. A run that goes on
        after its trial was told, because an earlier attempt ended with an error, is not pruned.
        """
        study = self._load(0)
        if study.trials[number].state.is_finished():
            return False
        trial = optuna.Trial(study, study.trials[number]._trial_id)
        trial.report(value, step)
        return trial.should_prune()

    def tell(
        self,
        number: int,
        values: Sequence[float | None],
        excesses: Sequence[float] = (),
        *,
        stopped: bool,
    ) -> None:
        """Record a result, `excesses` of the constraints included. A run that diverged or collapsed
        gets the worst value, and the largest excesses, so far.
        """
        study = self._load(0)
        if study.trials[number].state.is_finished():
            return
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if stopped or (None in values and not complete):  # there is no worst value yet
            if all(map(math.isfinite, excesses)):
                self._constrain(study, number, excesses)
            study.tell(number, state=TrialState.PRUNED if stopped else TrialState.FAIL)
            return
        if None in values:
            pick = [min if up else max for up in self.arm.higher]
            values = [worst(t.values[i] for t in complete) for i, worst in enumerate(pick)]
            excesses = [math.inf] * len(excesses)
        so_far = [LEAST_EXCESS] * len(excesses)
        for trial in complete if excesses else ():
            so_far = [*map(max, so_far, trial.system_attrs[CONSTRAINTS])]
        finite = [x if x < math.inf else most for x, most in zip(excesses, so_far, strict=True)]
        self._constrain(study, number, finite)
        study.tell(number, values)  # type: ignore[arg-type]

    def _constrain(self, study: optuna.Study, number: int, excesses: Sequence[float]) -> None:
        if excesses:
            trial = study.trials[number]
            self._storage.set_trial_system_attr(trial._trial_id, CONSTRAINTS, [*excesses])

    def _load(self, place: int) -> optuna.Study:
        seed = zlib.crc32(f"{self._name}/{place}".encode())
        steady = zlib.crc32(self._name.encode())
        return optuna.load_study(
            study_name=self._name,
            storage=self._storage,
            sampler=_sampler(self.arm, seed, steady),
            pruner=_pruner(self.arm),
        )

    def _earlier(self, study: str) -> list[optuna.trial.FrozenTrial]:
        """Trials of the same arm of an earlier study that lie in this arm's space."""
        name = f"{study}{ARM_OF}{self.arm.name}"
        try:
            found = optuna.load_study(study_name=name, storage=self._storage)
        except KeyError:
            raise InputError(
                f"study.warm_start: no search {name!r} in this store; give a study of kind search "
                f"or comparison that has this system"
            ) from None
        ours = [str(each) for each in self.arm.constraints]
        if ours and found.user_attrs.get(CONSTRAINTS) != ours:
            raise InputError(
                f"study.warm_start: search {name!r} does not have the same constraints, so its "
                f"trials say nothing about them; leave out warm_start"
            )
        fitting = []
        for trial in found.get_trials(states=(TrialState.COMPLETE,)):
            if len(trial.values) != len(self.arm.metrics):
                continue
            with suppress(ValueError, KeyError, StopIteration):  # not in this space
                given = current_settings(trial.params).items()
                space = self.arm.space
                copy = optuna.create_trial(
                    params=as_drawn(space, {key: space[key].value(x) for key, x in given}),
                    distributions=self._space,
                    values=trial.values,
                    user_attrs={"warm": study},
                    system_attrs={CONSTRAINTS: trial.system_attrs[CONSTRAINTS]} if ours else {},
                )
                fitting.append(copy)
        return fitting


def _as_stored(
    study: optuna.Study, space: Mapping[str, BaseDistribution]
) -> dict[str, tuple[str, BaseDistribution]]:
    """Key -> its name and distribution in Optuna's study, which are the old ones in a study that
    was begun with them.
    """
    trials = study.get_trials(deepcopy=False)
    fixed = {key: None for trial in trials for key in trial.system_attrs.get("fixed_params", {})}
    known = fixed | {key: each for trial in trials for key, each in trial.distributions.items()}
    names = {key: next((n for n in stored_keys(key) if n in known), key) for key in space}
    return {key: (name, known.get(name) or space[key]) for key, name in names.items()}


def _sampler(arm: Arm, seed: int, steady: int) -> optuna.samplers.BaseSampler:
    startup = max(2, min(10, round(STARTUP * arm.trials)))
    made: Mapping[str, Any] = {
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup),
        "gp": lambda: optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
        # One sequence for all proposals: the sampler counts its draws in the storage.
        "quasi_random": lambda: optuna.samplers.QMCSampler(
            scramble=True, seed=steady, warn_asynchronous_seeding=False
        ),
        "cma_es": lambda: optuna.samplers.CmaEsSampler(
            seed=seed, n_startup_trials=2, warn_independent_sampling=False
        ),
        "nsga2": lambda: optuna.samplers.NSGAIISampler(
            seed=seed, population_size=max(4, min(50, arm.trials // 4))
        ),
    }
    found: optuna.samplers.BaseSampler = made[arm.sampler]()
    return found


def _pruner(arm: Arm) -> optuna.pruners.BasePruner:
    if arm.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=WARMUP)
    if arm.pruner == "successive_halving":
        return optuna.pruners.SuccessiveHalvingPruner()
    if arm.pruner == "hyperband":  # from the first evaluation on; steps are updates
        config = arm.config({})
        most = config.train.updates or "auto"
        return optuna.pruners.HyperbandPruner(config.evaluation.every, most)
    return optuna.pruners.NopPruner()
