"""The queue of a study: Optuna's trials, each of which stands for one job.

Optuna's storage beside the tracking store holds it, with heartbeats. A trial carries its job's key
(variant and seed), the run it became, the process that has it, and what came out.
"""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

import optuna
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from core.errors import InputError
from studies.plan import Done, Job, Key, Limit
from studies.storage import GRACE_SECONDS, MOST_RETRIES, open_storage


def load_queue(name: str, url: str) -> optuna.Study:
    """The queue of a study; InputError when there is none."""
    storage = open_storage(url)
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        known = ", ".join(optuna.get_all_study_names(storage)) or "none yet"
        raise InputError(f"no study {name!r}; known: {known}") from None


def enqueue(queue: optuna.Study, job: Job) -> None:
    """Add a job."""
    queue.enqueue_trial({}, user_attrs={"variant": job.variant.name, "seed": job.seed})


def again(queue: optuna.Study, trial: FrozenTrial) -> None:
    """Queue a job once more; it goes on with the same run and the same settings."""
    kept: dict[str, Any] = {
        key: trial.user_attrs[key]
        for key in ("variant", "seed", "run_id", "proposal", "settings", "published")
        if key in trial.user_attrs
    }
    queue.enqueue_trial({}, user_attrs=kept)


def planned(queue: optuna.Study) -> list[FrozenTrial]:
    """The trials that stand for a job, oldest first."""
    trials = queue.get_trials(deepcopy=False)
    return [t for t in trials if "variant" in t.user_attrs and t.state != TrialState.PRUNED]


def latest(queue: optuna.Study) -> dict[Key, FrozenTrial]:
    """The last attempt at each job."""
    return {(t.user_attrs["variant"], t.user_attrs["seed"]): t for t in planned(queue)}


def ended(queue: optuna.Study) -> list[Done]:
    """What has come out, one for each job that has ended."""
    return [
        Done(
            variant,
            seed,
            "failed" if trial.state == TrialState.FAIL else trial.user_attrs["outcome"],
            trial.user_attrs.get("scores", {}),
            trial.user_attrs.get("settings", {}),
            trial.user_attrs.get("published", False),
        )
        for (variant, seed), trial in latest(queue).items()
        if trial.state in (TrialState.COMPLETE, TrialState.FAIL)
    ]


def started(queue: optuna.Study) -> list[FrozenTrial]:
    """The jobs that have ended or are being run."""
    over = (TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING)
    return [trial for trial in latest(queue).values() if trial.state in over]


def limit_of(queue: optuna.Study) -> Limit:
    """The study's budget; keys of older versions are ignored."""
    stored = queue.user_attrs.get("limit", {})
    return Limit(**{each.name: stored[each.name] for each in fields(Limit) if each.name in stored})


def set_limit(queue: optuna.Study, limit: Limit) -> None:
    """Change the study's budget."""
    queue.set_user_attr("limit", asdict(limit))


def later(queue: optuna.Study) -> int:
    """How many jobs will be known later."""
    return int(queue.user_attrs.get("later", 0))


def failures(queue: optuna.Study) -> list[str]:
    """A line for each run that broke and was not made good."""
    return [
        f"{variant}, seed {seed}: {trial.user_attrs.get('error', 'its worker died')}"
        for (variant, seed), trial in latest(queue).items()
        if trial.state == TrialState.FAIL
    ]


def mark_mine(trial: optuna.Trial) -> None:
    """Write down which process has a trial, so that its death can be seen at once."""
    trial.set_user_attr("process", [socket.gethostname(), os.getpid(), trial.number])


def is_double(queue: optuna.Study, trial: optuna.Trial) -> bool:
    """Whether an earlier attempt at the same job stands: two workers that plan at the same moment,
    with no lock that reaches both, queue a job twice.
    """
    key = (trial.user_attrs["variant"], trial.user_attrs["seed"])
    return any(
        (t.user_attrs["variant"], t.user_attrs["seed"]) == key and t.state != TrialState.FAIL
        for t in planned(queue)
        if t.number < trial.number
    )


def sweep(queue: optuna.Study) -> None:
    """Queue again what dead workers had.

    Dead is: its process on this machine is gone; its heartbeat is older than the grace period; or
    it was taken longer ago than that and never had one.
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
    """How many workers have died of a trial's job."""
    key = (trial.user_attrs["variant"], trial.user_attrs["seed"])
    return sum(
        (t.user_attrs["variant"], t.user_attrs["seed"]) == key and "error" not in t.user_attrs
        for t in planned(queue)
        if t.state == TrialState.FAIL
    )


def _abandoned(trial: FrozenTrial) -> bool:
    # Of three parts; an earlier version wrote two.
    host, process, number = (*trial.user_attrs.get("process", ()), None, None, None)[:3]
    if number != trial.number:  # Optuna's own retry keeps what the attempt before wrote
        host = None
    if host == socket.gethostname():
        return not _alive(process)
    # Without a process it was killed between being taken and its first word.
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
