"""A worker: takes jobs from a study's queue, one after the other."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

import optuna
from optuna.exceptions import UpdateFinishedTrialError

from core.config import Config
from core.config.renamed import current_settings
from core.errors import MachineError
from core.metrics.catalogue import metric_info
from core.tracking.protocol import ENDED, WORST, RunLabels, Tracker
from core.training.loop import Stopped
from studies.definition import Study
from studies.plan import Done, Job, Key, Plan
from studies.running import queue as jobs
from studies.running.proposals import Proposal, Proposals
from studies.space import Arm

Report = Callable[[int, int | None, Mapping[str, float | None]], None]


class RunResult(Protocol):
    """The result of a training run."""

    @property
    def outcome(self) -> str:
        """Outcome of the run."""

    @property
    def metrics(self) -> Mapping[str, float | None]:
        """Its values by name, those of chosen checkpoints and of the test split included."""


class Train(Protocol):
    """Trains one configuration; `experiments.single_run.run.run`."""

    def __call__(
        self,
        config: Config | None,
        *,
        tracker: Tracker,
        labels: RunLabels,
        resume: str | None,
        started: Callable[[str], None],
        report: Report | None,
        test: bool,
        likelihood: bool,
    ) -> RunResult:
        """Train and record in the study's experiment. `report` is called with every logged value
        and may raise `Stopped`; with `test` the run is scored on the test split at its end; with
        `likelihood` a language model is among its baselines.
        """


class Worker:
    """Runs jobs, one after the other."""

    def __init__(
        self, queue: optuna.Study, study: Study, tracker: Tracker, train: Train, url: str
    ) -> None:
        self.queue, self.study, self.tracker, self.train = queue, study, tracker, train
        self._known: Mapping[Key, Job] = {}
        name = queue.study_name
        self._proposals = {arm.name: Proposals(name, arm, url) for arm in study.kind.arms()}
        self._told: set[Key] = set()

    def look(self) -> Plan:
        """Queue what the results so far call for, and tell the arms the trials that are over."""
        plan = jobs.extend(self.queue, self.study, self.tracker)
        self._known = {job.key: job for job in (*plan.ready, *plan.ahead)}
        for each in plan.over:
            if each.key not in self._told:
                self._tell(self._known[each.key].arm, each)
                self._told.add(each.key)
        return plan

    def _tell(self, arm: Arm | None, trial: Done) -> None:
        """Tell the arm the mean scores of a trial, None if one of its runs failed."""
        if arm is None or trial.proposal < 0:  # it broke before it had settings
            return
        good, stopped = trial.outcome not in WORST, trial.outcome not in ENDED
        values = [trial.scores.get(key) if good else None for key in arm.metrics]
        excesses = [each.excess(trial.scores.get(each.metric)) for each in arm.constraints]
        with suppress(ValueError, UpdateFinishedTrialError):  # another worker was first
            self._proposals[arm.name].tell(trial.proposal, values, excesses, stopped=stopped)

    def has_enough(self, before: float = math.inf) -> bool:
        """Whether attempts with a number below `before` spend the study's budget of runs; a search
        has a budget of trials instead.
        """
        most = jobs.limit_of(self.queue).trials
        if most is None or self.study.kind.arms():
            return False
        return sum(each.number < before for each in jobs.started(self.queue)) >= most

    def take_one(self) -> None:
        """Run one job; if none is left, nothing but a pruned attempt in the queue."""
        try:
            self.queue.optimize(self._objective, n_trials=1, catch=(Exception,))
        except (ValueError, UpdateFinishedTrialError) as error:
            # Paused past the grace period: another worker has taken over the job.
            if "FAIL" not in str(error):
                raise

    def _objective(self, trial: optuna.Trial) -> float:
        attributes = trial.user_attrs
        if "variant" not in attributes:  # the queue ran empty in the meantime
            raise optuna.TrialPruned
        job = self._job(jobs.key_of(trial))
        if job is None or jobs.is_double(self.queue, trial):
            raise optuna.TrialPruned  # no longer planned, or another worker has it
        if self.has_enough(before=trial.number):
            jobs.give_back(self.queue, trial)
            raise optuna.TrialPruned
        jobs.mark_mine(trial)
        try:
            config = job.config or job.variant.config.model_copy(update={"seed": job.seed})
            result = self._try(trial, job) if job.arm else self._run(trial, job, config)
        except KeyboardInterrupt:
            jobs.give_back(self.queue, trial)  # Optuna fails the trial
            raise
        except Exception as error:
            trial.set_user_attr("error", f"{type(error).__name__}: {error}")
            raise
        table = self.study.table
        scores = {key: result.metrics.get(table.picked(key)) for key in table.measured}
        scores[table.ranked_by] = result.metrics.get(table.ranked_by)
        trial.set_user_attr("outcome", result.outcome)
        trial.set_user_attr("scores", scores)
        value = scores[table.metric]
        worst = -math.inf if table.higher_is_better else math.inf
        return worst if value is None or result.outcome in WORST else value

    def _job(self, key: Key) -> Job | None:
        if key not in self._known:  # planned by another worker since our last look
            self.look()
        return self._known.get(key)

    def _try(self, trial: optuna.Trial, job: Job) -> RunResult:
        """Run a trial of an arm, with new settings, those of the earlier attempt or, with a further
        tuning seed, those of its first run.
        """
        assert job.arm is not None
        proposals = self._proposals[job.arm.name]
        if "proposal" not in trial.user_attrs:
            first = job.first
            known = first and Proposal(first.proposal, dict(first.settings), first.published)
            proposal = known or proposals.ask(job.place)
            trial.set_user_attr("settings", proposal.settings)
            trial.set_user_attr("published", proposal.published)
            trial.set_user_attr("proposal", proposal.number)
        number = trial.user_attrs["proposal"]

        table = self.study.table
        curve = table.curve_metric
        # Optuna minimises or maximises the study's metric.
        same_direction = metric_info(curve).direction == metric_info(table.metric).direction

        def report(step: int, total: int | None, values: Mapping[str, float | None]) -> None:
            value = values.get(curve)
            if value is not None and not same_direction:
                value = -value
            if value is not None and proposals.should_stop(number, step, value):
                raise Stopped(f"pruned at update {step}: worse than the other trials at this point")

        config = job.arm.config(current_settings(trial.user_attrs["settings"]))
        config = config.model_copy(update={"seed": job.seed})
        # The curves of further seeds are not those that the pruner compares.
        prunes = job.arm.pruner != "none" and len(job.arm.metrics) == 1 and job.first is None
        return self._run(trial, job, config, report if prunes else None)

    def _run(
        self, trial: optuna.Trial, job: Job, config: Config, report: Report | None = None
    ) -> RunResult:
        study, variant, shared = self.queue.study_name, job.variant.name, self.queue.user_attrs
        # Of several rules the report compares the scores on both splits.
        several = len(self.study.table.selection) > 1
        tags = {"study": study, "variant": variant, "level": job.level, "seed": str(job.seed)}
        if job.trunk is not None:
            tags["trunk"] = str(job.trunk)
        name = f"{variant} · seed {job.seed}"
        if job.arm:
            settings = json.dumps(trial.user_attrs["settings"])
            published = str(trial.user_attrs["published"]).lower()
            tags |= {"arm": job.arm.name, "settings": settings, "published": published}
            name = name if job.first else variant
        parent = shared["parent_run_id"]
        if job.level == "seed":
            parent = shared["variant_run_ids"][variant]
        known = trial.user_attrs.get("run_id")
        return self.train(
            config,
            tracker=self.tracker,
            labels=RunLabels(study, name, parent, tags),
            resume=None if known is None or self._is_gone(known) else known,
            started=lambda run_id: trial.set_user_attr("run_id", run_id),
            report=report,
            test=job.tested or (several and job.level == "seed"),
            likelihood=self.study.table.likelihood,
        )

    def _is_gone(self, run_id: str) -> bool:
        """Whether the store has deleted the run of an earlier attempt; not while it is away."""
        try:
            return bool(self.tracker.gone([run_id]))
        except MachineError:
            return False
