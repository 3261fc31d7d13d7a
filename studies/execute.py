"""Running a study: a kind plans, Optuna holds the queue of jobs, workers take, MLflow records.

The driver makes everything once (experiment, parent run, a run for each variant, the queue) before
any worker starts. A job is one training run; its MLflow run id stands in its trial, so a retry
goes on with the same run from its checkpoint. Workers are the same whether in this process, in
others on this machine, or elsewhere; whichever finds the queue empty plans what comes next.
"""

from __future__ import annotations

import json
import math
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import optuna
from filelock import FileLock
from optuna.trial import TrialState

from core.config import Config, Resolver
from core.errors import InputError, MachineError
from core.tracking.protocol import Tracker
from studies import queue as jobs
from studies.definition import Study, from_definition
from studies.plan import Job, Key
from studies.queue import load_queue, open_storage

POLL_SECONDS = 0.5


class RunResult(Protocol):
    """What a training run answers."""

    @property
    def outcome(self) -> str:
        """How it ended."""
        ...

    @property
    def metrics(self) -> Mapping[str, float | None]:
        """Its last evaluation."""
        ...


class Train(Protocol):
    """Trains one configuration; `experiments.runner.run` is the one there is."""

    def __call__(
        self,
        config: Config | None,
        *,
        tracker: Tracker,
        experiment: str,
        name: str,
        parent_id: str | None,
        tags: Mapping[str, str],
        resume: str | None,
        started: Callable[[str], None],
    ) -> RunResult:
        """Train and record under the study's experiment."""
        ...


@dataclass(frozen=True)
class Progress:
    """Jobs of a study by state."""

    done: int
    failed: int
    total: int


Watch = Callable[[Progress], None]


def free_name(wanted: str, tracker: Tracker) -> str:
    """The name, numbered when an experiment has it already."""
    taken = set(tracker.experiments())
    numbered = (f"{wanted}-{number}" for number in range(2, len(taken) + 3))
    return wanted if wanted not in taken else next(n for n in numbered if n not in taken)


def begin(study: Study, name: str, tracker: Tracker, url: str, command: str) -> None:
    """Create the experiment, the parent run, a run for each variant, and the queue."""
    parent = tracker.start_run(
        name,
        name,
        params={"metric": study.table.metric},
        tags={"study": name, "kind": study.table.kind, "level": "study", "command": command},
    )
    parent.describe(
        f"{study.table.question}\n\n{study.kind.describe()} Ranked by "
        f"`{study.table.metric}`.\n\nAgain: `{command}`"
    )
    parent.log_text(json.dumps(study.tables, indent=2), "study.json")
    parent.flush()
    queue = optuna.create_study(storage=open_storage(url), study_name=name)
    queue.set_user_attr("definition", study.definition())
    queue.set_user_attr("parent_run_id", parent.run_id)
    queue.set_user_attr("variant_run_ids", {})
    extend(queue, study, tracker)


def extend(queue: optuna.Study, study: Study, tracker: Tracker) -> dict[Key, Job]:
    """Queue what the results so far call for; all jobs known."""
    with FileLock(tracker.world / ".plan.lock"):
        plan = study.kind.plan(jobs.ended(queue))
        known = jobs.latest(queue)
        runs = dict(queue.user_attrs["variant_run_ids"])
        for job in plan.jobs:
            if job.key in known:
                continue
            if job.variant.name not in runs and job.arm is None:
                runs[job.variant.name] = _variant_run(queue, study, tracker, job)
                queue.set_user_attr("variant_run_ids", runs)
            jobs.enqueue(queue, job)
    return {job.key: job for job in plan.jobs}


def _variant_run(queue: optuna.Study, study: Study, tracker: Tracker, job: Job) -> str:
    name, variant = queue.study_name, job.variant
    record = tracker.start_run(
        name,
        variant.name,
        params=dict(variant.values),
        tags={
            "study": name,
            "kind": study.table.kind,
            "level": "variant",
            "variant": variant.name,
            **({} if variant.values else {"whole_system": "true"}),
        },
        parent_id=queue.user_attrs["parent_run_id"],
    )
    record.flush()
    return record.run_id


def resume(name: str, url: str, study: Study | None) -> None:
    """Queue again what is missing: runs that failed, and runs whose worker died."""
    queue = load_queue(name, url)
    if study is not None and json.loads(study.definition()) != json.loads(
        queue.user_attrs["definition"]
    ):
        raise InputError(
            f"study {name!r} was begun with another definition; give the same file and --set, or "
            f"leave out --resume to begin a new study"
        )
    jobs.sweep(queue)
    for trial in jobs.latest(queue).values():
        if trial.state == TrialState.FAIL:
            jobs.again(queue, trial)


def work(name: str, tracker: Tracker, url: str, train: Train, resolver: Resolver) -> None:
    """Take jobs from the queue until there are none and none can come."""
    queue = load_queue(name, url)
    study = from_definition(queue.user_attrs["definition"], resolver)
    worker = _Worker(queue, study, tracker, train)
    while True:
        worker.known = extend(queue, study, tracker)
        if jobs.waiting(queue):
            worker.take_one()
        elif jobs.running(queue):
            # Others are at it: their deaths are noticed here, and what their results call for.
            time.sleep(POLL_SECONDS)
            jobs.sweep(queue)
        else:
            return


class _Worker:
    """One process that takes jobs."""

    def __init__(self, queue: optuna.Study, study: Study, tracker: Tracker, train: Train) -> None:
        self.queue, self.study, self.tracker, self.train = queue, study, tracker, train
        self.known: Mapping[Key, Job] = {}

    def take_one(self) -> None:
        """Run one job, if one is still there."""
        try:
            self.queue.optimize(self._objective, n_trials=1, catch=(Exception,))
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError) as error:
            # Paused past the grace period: others took the job for lost and have it now.
            if "FAIL" not in str(error):
                raise

    def _objective(self, trial: optuna.Trial) -> float:
        attributes = trial.user_attrs
        if "variant" not in attributes:  # the queue ran dry between the look and the take
            raise optuna.TrialPruned
        jobs.mark_mine(trial)
        job = self._job((attributes["variant"], attributes["seed"]))
        try:
            result = self._run(trial, job)
        except KeyboardInterrupt:
            # Optuna fails the trial; the job waits for whoever comes next.
            jobs.again(self.queue, self.queue.trials[trial.number])
            raise
        except Exception as error:
            trial.set_user_attr("error", f"{type(error).__name__}: {error}")
            raise
        trial.set_user_attr("outcome", result.outcome)
        metric = self.study.table.metric
        trial.set_user_attr("scores", {metric: result.metrics.get(metric)})
        value = result.metrics.get(metric)
        worst = -math.inf if self.study.table.higher_is_better else math.inf
        return value if value is not None else worst

    def _job(self, key: Key) -> Job:
        if key not in self.known:  # planned by another worker since this one looked
            self.known = extend(self.queue, self.study, self.tracker)
        return self.known[key]

    def _run(self, trial: optuna.Trial, job: Job) -> RunResult:
        name, run_id = self.queue.study_name, trial.user_attrs.get("run_id")
        config = job.variant.config.model_copy(update={"seed": job.seed})
        return self.train(
            None if run_id else config,
            tracker=self.tracker,
            experiment=name,
            name=f"{job.variant.name} · seed {job.seed}",
            parent_id=self.queue.user_attrs["variant_run_ids"][job.variant.name],
            tags={"study": name, "variant": job.variant.name, "level": "seed"},
            resume=run_id,
            started=lambda identity: trial.set_user_attr("run_id", identity),
        )


def drive(
    name: str,
    url: str,
    workers: int,
    run_worker: Callable[[], None],
    command: Sequence[str],
    watch: Watch,
) -> None:
    """Work here with one worker, or start `workers` processes of `command` and watch them."""
    queue = load_queue(name, url)
    if workers == 1:
        run_worker()
        watch(count(queue))
        return
    processes = [subprocess.Popen(command) for _ in range(workers)]
    try:
        while any(process.poll() is None for process in processes):
            watch(count(queue))
            time.sleep(POLL_SECONDS)
        watch(count(queue))
    except BaseException:
        for process in processes:
            process.wait()  # the terminal's interrupt reached them too; they end after their step
        raise
    broken = [process.returncode for process in processes if process.returncode]
    if broken and not count(queue).done:
        raise MachineError(f"every worker of study {name!r} failed (exit status {broken[0]})")


def failures(name: str, url: str) -> list[str]:
    """A line for each run that broke and was not made good."""
    return [
        f"{variant}, seed {seed}: {trial.user_attrs.get('error', 'its worker died')}"
        for (variant, seed), trial in jobs.latest(load_queue(name, url)).items()
        if trial.state == TrialState.FAIL
    ]


def count(queue: optuna.Study) -> Progress:
    """How far the queue has come, each job once."""
    states = [trial.state for trial in jobs.latest(queue).values()]
    return Progress(states.count(TrialState.COMPLETE), states.count(TrialState.FAIL), len(states))
