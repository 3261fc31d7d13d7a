"""Running a study: a kind plans, Optuna holds the queue of jobs, workers run them, MLflow records.

`begin` makes everything once (experiment, parent run, a run for each variant, the queue) before any
worker starts. A job is one training run. Its trial holds its MLflow run id, so a retry continues
the same run from its checkpoint. Workers are the same in this process, in other processes of this
machine, and on other machines; a worker that finds the queue empty plans what comes next.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import TrialState

from core.config.slots import Resolver
from core.errors import InputError, MachineError
from core.process import environment
from core.tracking.protocol import RunTracker, Tracker
from core.tracking.rendering import code, plain
from studies.definition import Study, from_definition, same_definition
from studies.leaderboard import MARGIN, MOST
from studies.plan import NO_LIMIT, Limit
from studies.running import queue as jobs
from studies.running.proposals import ARM_OF, Proposals
from studies.running.queue import Progress, load_queue, progress, queue_names
from studies.running.storage import open_storage
from studies.running.worker import Train, Worker
from studies.table import StudyTable, seed_list

IDLE_SECONDS = 0.5
POLL_SECONDS = 1.0
SHARE = 50  # reading the queue reads every job; this takes at most a 50th of the time
Watch = Callable[[Progress], None]


def free_name(wanted: str, tracker: Tracker, url: str) -> str:
    """The name, numbered if an experiment, deleted or not, or a queue has it already."""
    queues = queue_names(url)
    arms = {name.rpartition(ARM_OF)[0] for name in queues}
    taken = {*tracker.experiments(deleted=True), *queues, *arms}
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
    looks, margin = study.table.looks, study.table.margin
    settings = {MARGIN: looks.margin, MOST: looks.most} if looks else {MARGIN: margin}
    parent = tracker.start_run(
        name,
        name,
        params={
            "metric": study.table.ranked_by,
            **{key: value for key, value in settings.items() if value is not None},
        },
        tags={"study": name, "kind": study.table.kind, "level": "study", "command": command},
    )
    parent.describe(
        f"{plain(study.table.question)}\n\n{study.kind.describe()} Ranked by "
        f"`{study.table.ranked_by}`.\n\nCommand: {code(command)}"
    )
    parent.log_text(json.dumps(study.tables, indent=2), "study.json")
    parent.flush()
    queue = optuna.create_study(storage=open_storage(url), study_name=name)
    jobs.set_limit(queue, limit)
    queue.set_user_attr("definition", study.definition())
    queue.set_user_attr("parent_run_id", parent.run_id)
    queue.set_user_attr("variant_run_ids", {})
    jobs.extend(queue, study, tracker)


def grow(name: str, tracker: Tracker, url: str, study: Study) -> list[str]:
    """Give a begun study the further seeds and rows that `study` has, if nothing else differs; what
    was added, in words.

    The study's run records it, so that the report can say it.
    """
    queue = load_queue(name, url)
    before, now = json.loads(queue.user_attrs["definition"]), json.loads(study.definition())
    seeds, rows = _more_seeds(before["study"], study), _more_rows(before, now, study)
    if not same_definition(json.dumps(now), json.dumps(before)) or not (seeds or rows):
        return []
    parent = tracker.continue_run(queue.user_attrs["parent_run_id"])
    parent.log_text(json.dumps(before, indent=2), "study.json")
    earlier = tracker.run(parent.run_id).tags.get("rows_added")
    tags = {"seeds_added": seeds, "rows_added": ", ".join(filter(None, [earlier, *rows]))}
    parent.set_tags({key: value for key, value in tags.items() if value})
    parent.flush()
    queue.set_user_attr("definition", json.dumps(before))  # rows keep the names of its keys
    return [f"seeds {seeds}"] * bool(seeds) + [f"row {row}" for row in rows]


def _more_seeds(before: dict[str, Any], study: Study) -> str:
    """Take the seeds of `study` into a stored [study] table that has fewer; both numbers."""
    had = before.get("seeds", StudyTable.model_fields["seeds"].default)
    if study.table.looks or isinstance(had, dict):
        return ""
    had, has = seed_list(had), study.table.seed_list()
    if not set(had) < set(has):
        return ""
    before["seeds"] = study.tables["study"]["seeds"]
    return f"{len(had)}, then {len(has)}"


def _more_rows(before: dict[str, Any], now: Mapping[str, Any], study: Study) -> list[str]:
    """Take the systems that `now` has after those of `before` into `before`, as rows without
    trials; their names.
    """
    had, has = (each["study"].get("systems", []) for each in (before, now))
    if study.kind.arms() or len(has) <= len(had) or has[: len(had)] != had:
        return []
    names = [each.name for each in study.table.systems[len(had) :]]
    before["study"]["systems"] = has
    before["systems"] = before.get("systems", {}) | {row: now["systems"][row] for row in names}
    return names


def again_if_gone(name: str, tracker: Tracker, url: str) -> int:
    """Queue again the jobs that ended and that the store no longer has, because somebody deleted
    their runs; how many. They are trained as new runs.
    """
    queue = load_queue(name, url)
    done = [t for t in jobs.latest(queue).values() if t.state == TrialState.COMPLETE]
    gone = tracker.gone([t.user_attrs["run_id"] for t in done if "run_id" in t.user_attrs])
    lost = [trial for trial in done if trial.user_attrs.get("run_id") in gone]
    for trial in lost:
        jobs.again(queue, trial)
    return len(lost)


def resume(name: str, url: str, study: Study, limit: Limit = NO_LIMIT) -> None:
    """Queue again what is missing: runs that failed, and runs whose worker died."""
    queue = load_queue(name, url)
    if not same_definition(study.definition(), queue.user_attrs["definition"]):
        raise InputError(
            f"study {name!r} was begun with another definition; give the same file and --set, or "
            f"leave out --resume to begin a new study"
        )
    jobs.keep_chosen(queue, study)
    jobs.set_limit(queue, limit)
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
    """Run jobs from the queue until none are left and none can follow, or the time is over.

    No run starts that is not expected to end before `until` (seconds since 1970), and searching
    ends early enough for the finalists.
    """
    queue = load_queue(name, url)
    study = from_definition(queue.user_attrs["definition"], resolver)
    worker = Worker(queue, study, tracker, train, url)
    while True:
        plan = worker.look()
        state = progress(queue, study.table)
        limit = jobs.limit_of(queue)
        after = 0 if limit.closed else plan.must_follow  # then trials that run are waited for
        if until is not None and _no_time(state, after, until, limit.workers):
            if not plan.later or limit.closed:
                return
            jobs.set_limit(queue, replace(limit, closed=True))
        elif worker.has_enough():
            return
        elif state.waiting:
            worker.take_one()
        elif state.running:
            # Wait for other workers: notice their deaths, and plan from their results.
            time.sleep(IDLE_SECONDS)
            jobs.sweep(queue)
        else:
            return


def _no_time(state: Progress, after: int, until: float, workers: int) -> bool:
    """Whether another run, and the `after` that must follow it, would not end in time."""
    following = math.ceil(after / workers) * (state.later_seconds or 0.0)
    return time.time() + (state.next_seconds or 0.0) + following > until


def run_workers(name: str, command: Sequence[str], n: int) -> None:
    """Start `n` worker processes of `command`, and wait for them; MachineError if all failed."""
    # In their own process groups: the terminal's Ctrl-C reaches only us, and we pass it on once.
    processes = [subprocess.Popen(command, env=environment(), process_group=0) for _ in range(n)]
    try:
        for process in processes:
            process.wait()
    except BaseException:
        _end(processes)
        raise
    if all(process.returncode for process in processes):
        status = processes[0].returncode
        raise MachineError(f"every worker of study {name!r} failed (exit status {status})")


def look(queue: optuna.Study, table: StudyTable, watch: Watch) -> float:
    """Call `watch` with the progress; seconds until the next look."""
    before = time.thread_time()
    watch(progress(queue, table))
    return max(POLL_SECONDS, SHARE * (time.thread_time() - before))


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Pass the interrupt on: workers end after their step, and immediately at a second one. By
    SIGTERM, because processes that a script starts in the background ignore SIGINT.
    """
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    try:
        for process in processes:
            process.wait()
    except KeyboardInterrupt:
        _end(processes)
        raise


@contextmanager
def watching(name: str, url: str, table: StudyTable, watch: Watch) -> Iterator[None]:
    """A thread calls `watch` with the progress during the block, and once more at its end."""
    over = threading.Event()

    def watch_queue() -> None:
        queue = load_queue(name, url)
        pause = POLL_SECONDS
        while not over.wait(pause):
            pause = look(queue, table, watch)
        watch(progress(queue, table))

    thread = threading.Thread(target=watch_queue, name="watching", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def to_record(record: RunTracker, workers: int) -> Watch:
    """A watch that logs to the study's run, one point whenever another run has ended."""
    seen = -1

    def watch(state: Progress) -> None:
        nonlocal seen
        ended = state.done + state.failed
        if ended == seen:
            return
        seen = ended
        values = {
            "study/runs_ended": float(ended),
            "study/runs_planned": float(state.total),
            "study/best": state.best,
            "study/seconds_left": state.seconds_left(workers),
        }
        record.log_metrics(values, ended)

    return watch
