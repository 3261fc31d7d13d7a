"""An arm: one system whose settings are searched for, and Optuna's study that proposes them.

The arm's own Optuna study (`STUDY / ARM`) holds proposals and their values and nothing else, so
samplers see a plain search whatever the study around it is. A sampler is made anew for every
proposal, seeded by the study, the arm and the proposal's place: what is proposed depends on what
came before, not on which process asks.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import optuna
from optuna.trial import TrialState

from core.config import Config, Resolver, Tables, parse
from core.errors import InputError
from studies.cells import changed
from studies.space import Settings, Space, as_drawn, suggest
from studies.storage import open_storage

Sampler = Literal["tpe", "gp", "random", "quasi_random", "cma_es", "nsga2"]
Pruner = Literal["none", "median", "successive_halving"]
STARTUP = 0.25  # share of the trials that are drawn at random before a sampler learns
FIRST_REPORTS = 1  # evaluations of a trial that is never pruned


@dataclass(frozen=True)
class Arm:
    """What a search varies of one system, and how."""

    name: str
    tables: Tables
    space: Space
    metrics: tuple[str, ...]  # the first ranks
    higher: tuple[bool, ...]
    trials: int
    resolver: Resolver = field(compare=False)
    sampler: Sampler = "tpe"
    pruner: Pruner = "none"
    published: tuple[Settings, ...] = ()  # enqueued first; the first of them is the system's own
    warm_start: str | None = None

    def config(self, settings: Settings) -> Config:
        """The system with these settings; InputError where they do not go together."""
        where = f"{self.name}, proposed settings"
        return parse(changed(self.tables, settings, where), self.resolver, where)


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
        self._name = f"{study} / {arm.name}"

    def begin(self) -> None:
        """Create the arm's Optuna study: published settings first, then what was known before."""
        found = optuna.create_study(
            storage=self._storage,
            study_name=self._name,
            directions=["maximize" if up else "minimize" for up in self.arm.higher],
        )
        found.set_metric_names([metric.partition("/")[2] for metric in self.arm.metrics])
        for settings in self.arm.published:
            drawn = as_drawn(self.arm.space, settings)
            found.enqueue_trial(drawn, user_attrs={"published": True})
        if self.arm.warm_start is not None:
            found.add_trials(self._earlier(self.arm.warm_start))

    def ask(self, place: int) -> Proposal:
        """The next settings."""
        trial = self._load(place).ask()
        settings = suggest(trial, self.arm.space)
        published = bool(trial.user_attrs.get("published", False))
        return Proposal(trial.number, settings, published)

    def should_stop(self, number: int, step: int, value: float) -> bool:
        """Report a point of the validation curve; whether the trial is worth going on with."""
        study = self._load(0)
        trial = optuna.Trial(study, study.trials[number]._trial_id)
        trial.report(value, step)
        return trial.should_prune()

    def tell(self, number: int, values: Sequence[float | None], *, stopped: bool) -> None:
        """What came of a proposal. A run that diverged or collapsed has the worst value so far."""
        study = self._load(0)
        if study.trials[number].state.is_finished():
            return
        if stopped:
            study.tell(number, state=TrialState.PRUNED)
            return
        known = [t.values for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]
        if None in values and not known:
            study.tell(number, state=TrialState.FAIL)  # nothing to be worse than
            return
        worst = [
            (min if up else max)(each[i] for each in known) if known else None
            for i, up in enumerate(self.arm.higher)
        ]
        study.tell(number, worst if None in values else values)  # type: ignore[arg-type]

    def _load(self, place: int) -> optuna.Study:
        seed = zlib.crc32(f"{self._name}/{place}".encode())
        steady = zlib.crc32(self._name.encode())
        return optuna.load_study(
            study_name=self._name,
            storage=self._storage,
            sampler=_sampler(self.arm, seed, steady),
            pruner=_pruner(self.arm.pruner),
        )

    def _earlier(self, study: str) -> list[optuna.trial.FrozenTrial]:
        """Trials of the same arm of an earlier study that lie in this one's space."""
        name = f"{study} / {self.arm.name}"
        try:
            found = optuna.load_study(study_name=name, storage=self._storage)
        except KeyError:
            raise InputError(f"study.warm_start: no search {name!r} in this store") from None
        space = {key: each.distribution() for key, each in self.arm.space.items()}
        fitting = []
        for trial in found.get_trials(states=(TrialState.COMPLETE,)):
            same = set(trial.params) == set(space) and len(trial.values) == len(self.arm.metrics)
            if same and all(
                space[key]._contains(space[key].to_internal_repr(value))
                for key, value in trial.params.items()
            ):
                fitting.append(
                    optuna.create_trial(
                        params=trial.params,
                        distributions=space,
                        values=trial.values,
                        user_attrs={"warm": study},
                    )
                )
        return fitting


def _sampler(arm: Arm, seed: int, steady: int) -> optuna.samplers.BaseSampler:
    startup = max(2, min(10, round(STARTUP * arm.trials)))
    made: Mapping[str, Any] = {
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup),
        "gp": lambda: optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
        # One sequence for all proposals: its own count, kept in the storage, moves along it.
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


def _pruner(name: Pruner) -> optuna.pruners.BasePruner:
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=FIRST_REPORTS)
    if name == "successive_halving":
        return optuna.pruners.SuccessiveHalvingPruner()
    return optuna.pruners.NopPruner()
