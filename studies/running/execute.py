"""Running a study: a kind plans, Optuna holds the queue of jobs, workers take, MLflow records.

The driver makes everything once (experiment, parent run, a run for each variant, the queue) before
any worker starts. A job is one training run; its MLflow run id stands in its trial, so a retry
goes on with the same run from its checkpoint. Workers are the same whether in this process, in
others on this machine, or elsewhere; whichever finds the queue empty plans what comes next.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace

import optuna
from optuna.trial import TrialState

from core.config import Resolver
from core.errors import InputError
from core.tracking.protocol import Tracker
from core.tracking.rendering import code, plain
from studies.arms import Proposals
from studies.definition import Study, from_definition
from studies.plan import NO_LIMIT, Limit
from studies.running import queue as jobs
from studies.running.planning import extend
from studies.running.progress import Progress, progress
from studies.running.queue import load_queue
from studies.running.worker import Train, Worker
from studies.storage import open_storage
from studies.table import StudyTable, seed_list

POLL_SECONDS = 0.5


def free_name(wanted: str, tracker: Tracker) -> str:
    """The name, numbered when an experiment has it already."""
    taken = set(tracker.experiments())
    numbered = (f"{wanted}-{number}" for number in range(2, len(taken) + 3))
    return wanted if wanted not in taken else next(n for n in numbered if n not in taken)


def begin(
    study: Study,
    name: str,
    tracker: Tracker,
    url: str,
    command: str,
    limit: Limit = NO_LIMIT,
) -> None:
    """Create the experiment, the parent run, a run for each variant, and the queue."""
    for arm in study.kind.arms():
        Proposals(name, arm, url).begin()
    parent = tracker.start_run(
        name,
        name,
        params={"metric": study.table.ranked_by},
        tags={"study": name, "kind": study.table.kind, "level": "study", "command": command},
    )
    parent.describe(
        f"{plain(study.table.question)}\n\n{study.kind.describe()} Ranked by "
        f"`{study.table.ranked_by}`.\n\nAgain: {code(command)}"
    )
    parent.log_text(json.dumps(study.tables, indent=2), "study.json")
    parent.flush()
    queue = optuna.create_study(storage=open_storage(url), study_name=name)
    jobs.set_limit(queue, limit)
    queue.set_user_attr("definition", study.definition())
    queue.set_user_attr("parent_run_id", parent.run_id)
    queue.set_user_attr("variant_run_ids", {})
    extend(queue, study, tracker)


def grow(name: str, tracker: Tracker, url: str, study: Study) -> int:
    """Give a begun study the further seeds that `study` has, if that is all that differs; how many.

    The study's run remembers that they were added, for the report to say.
    """
    queue = load_queue(name, url)
    before, now = json.loads(queue.user_attrs["definition"]), json.loads(study.definition())
    had = seed_list(before["study"].get("seeds", StudyTable.model_fields["seeds"].default))
    has = study.table.seed_list()
    before["study"]["seeds"] = now["study"].get("seeds")
    if before != now or not set(had) < set(has):
        return 0
    parent = tracker.continue_run(queue.user_attrs["parent_run_id"])
    parent.log_text(json.dumps(study.tables, indent=2), "study.json")
    parent.set_tags({"seeds_added": f"{len(had)}, then {len(has)}"})
    parent.flush()
    queue.set_user_attr("definition", study.definition())
    return len(has) - len(had)


def resume(name: str, url: str, study: Study | None, limit: Limit = NO_LIMIT) -> None:
    """Queue again what is missing: runs that failed, and runs whose worker died."""
    queue = load_queue(name, url)
    jobs.set_limit(queue, limit)
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


def work(
    name: str,
    tracker: Tracker,
    url: str,
    train: Train,
    resolver: Resolver,
    until: float | None = None,
) -> None:
    """Take jobs from the queue until there are none and none can come, or the time is over.

    No run is begun that is not expected to end before `until` (seconds since 1970), and searching
    ends early enough for the finalists.
    """
    queue = load_queue(name, url)
    study = from_definition(queue.user_attrs["definition"], resolver)
    worker = Worker(queue, study, tracker, train, url)
    while True:
        plan = worker.look()
        state = progress(queue, study.table)
        limit = jobs.limit_of(queue)
        if until is not None and _no_time(state, until, limit.workers):
            if not plan.later or limit.closed:
                return
            jobs.set_limit(queue, replace(limit, closed=True))
        elif worker.has_enough():
            return
        elif state.waiting:
            worker.take_one()
        elif state.running:
            # Others are at it: their deaths are noticed here, and what their results call for.
            time.sleep(POLL_SECONDS)
            jobs.sweep(queue)
        else:
            return


def _no_time(state: Progress, until: float, workers: int) -> bool:
    """Whether another run, and after it those that are to come, would not end in time."""
    one = state.seconds or 0.0
    return time.time() + one + one * math.ceil(state.later / workers) > until
