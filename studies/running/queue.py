"""The queue of a study: one Optuna trial per attempt at a job.

It is in Optuna's storage next to the tracking store, with heartbeats. A trial holds the key of its
job (variant and seed), the id of its run, the process that runs it, and the result.
"""

from __future__ import annotations

import hashlib
import os
import socket
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

import optuna
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from core.config.renamed import current_settings
from core.errors import InputError, listed
from core.tracking.protocol import Tracker
from studies.definition import Study
from studies.kinds import Queued
from studies.plan import Done, Job, Key, Limit, Plan
from studies.running.storage import GRACE_SECONDS, MOST_RETRIES, alone, open_storage
from studies.table import StudyTable
from studies.tuning import Tuned, TuningTable

# Attributes of a trial: the number of the last trial of its job that no longer counts; its own
# number, if its worker has given the job back (Optuna's own retry keeps the attributes).
REPLACES, RETURNED = "replaces", "returned"
CHOSEN = "chosen"  # attribute of the queue: row -> its settings, once it has runs


def queue_names(url: str) -> list[str]:
    """The names of all studies that have a queue, and of their arms."""
    return optuna.get_all_study_names(open_storage(url))


def load_queue(name: str, url: str) -> optuna.Study:
    """The queue of a study; InputError if there is none."""
    storage = open_storage(url)
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        known = listed(optuna.get_all_study_names(storage))
        raise InputError(f"no study {name!r}; known: {known}") from None


def extend(queue: optuna.Study, study: Study, tracker: Tracker) -> Plan:
    """Queue the jobs that the results so far call for, each once; the plan."""
    known = latest(queue)
    plan = _plan(queue, study, known)
    if _missing(plan, known):
        with alone(queue._storage, queue.study_name, tracker.store_dir):
            now = latest(queue)
            if now.keys() != known.keys():  # another worker was first
                plan = _plan(queue, study, now)
            _enqueue(queue, study, tracker, _missing(plan, now))
        known = latest(queue)
    later = plan.must_follow + sum(job.key not in known for job in plan.ahead)
    for key, value in (("later", later), ("open", list(plan.open))):
        if queue.user_attrs.get(key, type(value)()) != value:
            queue.set_user_attr(key, value)
    return plan


def _plan(queue: optuna.Study, study: Study, known: Mapping[Key, FrozenTrial]) -> Plan:
    return study.kind.plan(ended(known), limit_of(queue), _queued(queue, known))


def _queued(queue: optuna.Study, known: Mapping[Key, FrozenTrial]) -> Queued:
    chosen = queue.user_attrs.get(CHOSEN, {})
    running = [  # one without a process may still be dropped by the worker that took it
        key for key, trial in known.items()
        if trial.state == TrialState.RUNNING and _process(trial)[0] is not None
    ]  # fmt: skip
    return Queued(frozenset(running), {row: current_settings(of) for row, of in chosen.items()})


def outdone(queue: optuna.Study, study: Study) -> list[str]:
    """A sentence for each row that keeps its settings although a later trial is better."""
    known = latest(queue)
    return [*study.kind.outdone(ended(known), limit_of(queue), _queued(queue, known))]


def keep_chosen(queue: optuna.Study, study: Study) -> None:
    """Record the settings of rows with runs, which earlier versions did not."""
    known = latest(queue)
    _choose(queue, [job for job in _plan(queue, study, known).jobs if job.key in known])


def _choose(queue: optuna.Study, jobs: Sequence[Job]) -> None:
    """Record the settings of the rows of these jobs that have none on record."""
    before = queue.user_attrs.get(CHOSEN, {})
    rows = [job.variant for job in jobs if isinstance(job.variant, Tuned)]
    chosen = {row.name: dict(row.settings) for row in rows} | before
    if chosen != before:
        queue.set_user_attr(CHOSEN, chosen)


def _missing(plan: Plan, known: Mapping[Key, FrozenTrial]) -> list[Job]:
    """The jobs to be queued: those that can run and, if no job waits for a worker, the first of
    those ahead. Every free worker plans, so there are as many of these as free workers.
    """
    missing = [job for job in plan.ready if job.key not in known]
    if missing or any(trial.state == TrialState.WAITING for trial in known.values()):
        return missing
    return [job for job in plan.ahead if job.key not in known][:1]


def _enqueue(queue: optuna.Study, study: Study, tracker: Tracker, jobs: Sequence[Job]) -> None:
    _choose(queue, jobs)
    runs = dict(queue.user_attrs["variant_run_ids"])
    for job in jobs:
        if job.variant.name not in runs and job.level == "seed":
            runs[job.variant.name] = _variant_run(queue, study, tracker, job)
            queue.set_user_attr("variant_run_ids", runs)
        queue.enqueue_trial({}, user_attrs={"variant": job.variant.name, "seed": job.seed})


def _variant_run(queue: optuna.Study, study: Study, tracker: Tracker, job: Job) -> str:
    name, variant = queue.study_name, job.variant
    tags = {"study": name, "kind": study.table.kind, "level": "variant", "variant": variant.name}
    record = tracker.start_run(
        name,
        variant.name,
        params=dict(variant.values),
        tags={**tags, **({"whole": "true"} if variant.whole else {})},
        parent_id=queue.user_attrs["parent_run_id"],
        identity=hashlib.sha256(f"{name}/{variant.name}".encode()).hexdigest()[:32],
    )
    record.flush()
    return record.run_id


def again(queue: optuna.Study, trial: FrozenTrial) -> None:
    """Queue a job once more; it continues the same run with the same settings. One that has ended
    is replaced.
    """
    kept: dict[str, Any] = {
        key: trial.user_attrs[key]
        for key in ("variant", "seed", "run_id", "proposal", "settings", "published", REPLACES)
        if key in trial.user_attrs
    }
    if trial.state == TrialState.COMPLETE:
        kept[REPLACES] = trial.number
    queue.enqueue_trial({}, user_attrs=kept)


def give_back(queue: optuna.Study, trial: optuna.Trial) -> None:
    """Queue the job of this worker's trial once more, which is about to end without a result.

    It is queued before the trial ends, so that no other worker sees a job that failed.
    """
    trial.set_user_attr(RETURNED, trial.number)
    again(queue, queue.trials[trial.number])


def key_of(trial: FrozenTrial | optuna.Trial) -> Key:
    """The key of a trial's job."""
    return trial.user_attrs["variant"], trial.user_attrs["seed"]


def planned(queue: optuna.Study) -> list[FrozenTrial]:
    """The trials that are attempts at a job, oldest first."""
    trials = queue.get_trials(deepcopy=False)
    return [t for t in trials if "variant" in t.user_attrs and t.state != TrialState.PRUNED]


def latest(queue: optuna.Study) -> dict[Key, FrozenTrial]:
    """The last attempt at each job."""
    return {key_of(trial): trial for trial in planned(queue)}


def ended(newest: Mapping[Key, FrozenTrial]) -> list[Done]:
    """The results, one for each job that has ended, of the last attempt at each."""
    return [
        Done(
            *key,
            "failed" if trial.state == TrialState.FAIL else trial.user_attrs["outcome"],
            trial.user_attrs.get("scores", {}),
            current_settings(trial.user_attrs.get("settings", {})),
            trial.user_attrs.get("published", False),
            trial.user_attrs.get("run_id", ""),
            trial.user_attrs.get("proposal", -1),
        )
        for key, trial in newest.items()
        if trial.state in (TrialState.COMPLETE, TrialState.FAIL)
    ]


def started(queue: optuna.Study) -> list[FrozenTrial]:
    """The jobs that have ended or are running."""
    over = (TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING)
    return [trial for trial in latest(queue).values() if trial.state in over]


def limit_of(queue: optuna.Study) -> Limit:
    """The study's budget; keys of older versions are ignored."""
    stored = queue.user_attrs.get("limit", {})
    return Limit(**{each.name: stored[each.name] for each in fields(Limit) if each.name in stored})


def set_limit(queue: optuna.Study, limit: Limit) -> None:
    """Change the study's budget."""
    queue.set_user_attr("limit", asdict(limit))


def failures(queue: optuna.Study) -> list[str]:
    """One line for each run that failed and was not completed since."""
    return [
        f"{variant}, seed {seed}: {trial.user_attrs.get('error', 'its worker died')}"
        for (variant, seed), trial in latest(queue).items()
        if trial.state == TrialState.FAIL
    ]


def mark_mine(trial: optuna.Trial) -> None:
    """Record which process runs a trial, so that its death is noticed at once and a search whose
    time is over waits for the result.
    """
    trial.set_user_attr("process", [socket.gethostname(), os.getpid(), trial.number])


def is_double(queue: optuna.Study, trial: optuna.Trial) -> bool:
    """Whether an earlier attempt at the same job is still valid: two workers that plan at the same
    moment, with no lock that both can see, queue a job twice.
    """
    return any(
        key_of(t) == key_of(trial) and t.state != TrialState.FAIL and not _returned(t)
        for t in planned(queue)
        if trial.user_attrs.get(REPLACES, -1) < t.number < trial.number
    )


def sweep(queue: optuna.Study) -> None:
    """Queue the jobs of dead workers again.

    A worker is dead if its process on this machine is gone, if its heartbeat is older than the
    grace period, or if it took the job longer ago than that and never had a heartbeat.
    """
    fail_stale_trials(queue)
    for trial in queue.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not _abandoned(trial):
            continue
        try:
            queue.tell(trial.number, state=TrialState.FAIL)
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError):  # another saw it first
            continue
        if "variant" in trial.user_attrs and _deaths(queue, trial) <= MOST_RETRIES:
            again(queue, trial)


def _deaths(queue: optuna.Study, trial: FrozenTrial) -> int:
    """Number of workers that died while running a trial's job."""
    return sum(
        key_of(t) == key_of(trial) and "error" not in t.user_attrs and not _returned(t)
        for t in planned(queue)
        if t.state == TrialState.FAIL
    )


def _returned(trial: FrozenTrial) -> bool:
    return bool(trial.user_attrs.get(RETURNED) == trial.number)


def _process(trial: FrozenTrial) -> tuple[str | None, int]:
    """The host and the process that run a trial; None if none is recorded."""
    # Three parts; an earlier version wrote two.
    host, process, number = (*trial.user_attrs.get("process", ()), None, None, None)[:3]
    # Optuna's own retry keeps the attributes of the earlier attempt.
    return (host if number == trial.number else None), process


def _abandoned(trial: FrozenTrial) -> bool:
    host, process = _process(trial)
    if host == socket.gethostname():
        return not _alive(process)
    # Without a process it was killed between taking the job and recording its process.
    begun = trial.datetime_start
    old = begun is None or (datetime.now() - begun).total_seconds() > GRACE_SECONDS
    return host is None and old


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@dataclass(frozen=True)
class Progress:
    """Jobs of a study by state, the best so far, and the time that the rest may take."""

    done: int
    failed: int
    running: int
    waiting: int
    later: int = 0  # jobs that become known later
    best: float | None = None
    best_variant: str = ""
    next_seconds: float | None = None  # that the next waiting run may take
    later_seconds: float | None = None  # that one of those which become known later may take
    work_left: float | None = None  # seconds of one worker for all that is left
    open: tuple[str, ...] = ()  # contrasts that are not settled, with adaptive seeds

    @property
    def total(self) -> int:
        """All jobs."""
        return self.done + self.failed + self.running + self.waiting + self.later

    def seconds_left(self, workers: int) -> float | None:
        """Time for the rest with so many workers; None if no run has ended."""
        return None if self.work_left is None else self.work_left / max(1, workers)


def progress(queue: optuna.Study, table: StudyTable) -> Progress:
    """State of the queue, each job counted once."""
    newest = list(latest(queue).values())
    states = [trial.state for trial in newest]
    complete = [t for t in newest if t.state == TrialState.COMPLETE and t.value is not None]
    keeping = [t for t in complete if table.keeps(t.user_attrs.get("scores", {}))]
    finite = [t for t in keeping if abs(t.value or 0.0) < float("inf")]
    pick = max if table.higher_is_better else min
    best = pick(finite, key=lambda t: t.value or 0.0) if finite else None
    rows, tuning, ratio = queue.user_attrs.get("variant_run_ids", {}), [], 1.0
    if isinstance(table, TuningTable):
        tuning, ratio = table.tuning_seed_list(), table.budget_ratio or 1.0

    def of_row(job: FrozenTrial) -> bool:
        variant, seed = key_of(job)
        return variant in rows and seed not in tuning  # a finalist may have its trial's name

    finals = [job for job in newest if of_row(job)]
    others = [job for job in newest if not of_row(job)]
    other, final = _seconds(others), _seconds(finals)  # of a trial or trunk; of a run of a row
    if other is None or final is None:  # known by the ratio of their budgets
        other, final = other or (final and final / ratio), final or (other and other * ratio)
    later = queue.user_attrs.get("later", 0)
    work_left = None
    if other is not None and final is not None:
        work_left = _left(others) * other + (_left(finals) + later) * final
    waits = any(trial.state == TrialState.WAITING for trial in others)
    return Progress(
        states.count(TrialState.COMPLETE),
        states.count(TrialState.FAIL),
        states.count(TrialState.RUNNING),
        states.count(TrialState.WAITING),
        later,
        best.value if best else None,
        best.user_attrs["variant"] if best else "",
        other if waits else final,
        final,
        work_left,
        tuple(queue.user_attrs.get("open", ())),
    )


def _left(jobs: Sequence[FrozenTrial]) -> float:
    """How many of these are left; half of a running one is over."""
    states = [job.state for job in jobs]
    return states.count(TrialState.RUNNING) / 2 + states.count(TrialState.WAITING)


def _seconds(jobs: Sequence[FrozenTrial]) -> float | None:
    """How long one of these takes, as `typical_seconds` says."""
    now = datetime.now()
    ended = [
        job.duration.total_seconds()
        for job in jobs
        if job.state == TrialState.COMPLETE and job.value is not None and job.duration is not None
    ]
    running = [
        (now - job.datetime_start).total_seconds()
        for job in jobs
        if job.state == TrialState.RUNNING and job.datetime_start is not None
    ]
    return typical_seconds(ended, running)


def typical_seconds(ended: Sequence[float], running: Sequence[float]) -> float | None:
    """Median time of a run, from those that ended and those that already take longer; None if none
    has ended. The shortest runs end first, so alone they would promise too early an end.
    """
    if not ended:
        return None
    usual = statistics.median(ended)
    return statistics.median([*ended, *(each for each in running if each > usual)])
