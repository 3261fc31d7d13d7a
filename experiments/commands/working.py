"""What `textgan study` does between its plan and its leaderboard."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from rich.markdown import Markdown

from core import process
from core.tracking.protocol import Tracker
from experiments.commands.beginning import Begun
from experiments.console import err, out, print_json, progress, table
from experiments.estimate import Estimate, estimate
from experiments.ray_worker import Errand, Places
from experiments.single_run.run import run as train
from studies.definition import Study
from studies.leaderboard import Leaderboard, leaderboard
from studies.plan import Limit
from studies.report import publish
from studies.running.execute import Watch, drive, to_record, work
from studies.running.queue import Progress, load_queue
from studies.running.queue import progress as read_progress
from studies.table import StudyTable
from variants import registry

MINUTE, HOUR = 60, 3600


@dataclass(frozen=True)
class Work:
    """How a study is worked through."""

    workers: int = 1
    minutes: float | None = None
    cluster: Places | None = None  # None: processes on this machine


def crowded(study: Study, workers: int, cores: int) -> str | None:
    """What to say where several threads of each worker share too few cores; None elsewhere."""
    threads = study.tables.get("train", {}).get("threads", 1)
    if threads == 1 or workers * threads <= cores:
        return None
    return (
        f"{workers} workers of train.threads = {threads} share {cores} cores, and wait for each "
        f"other; train.threads = 1 does more"
    )


def work_through(
    begun: Begun, url: str, table_: StudyTable, tracker: Tracker, how: Work
) -> tuple[Leaderboard, str]:
    """Run a study that was begun to its end, or to the end of its time; leaderboard and link.

    Who has joined works, and leaves the study's own record to the process that began it.
    """
    name = begun.name
    os.environ["MLFLOW_TRACKING_URI"] = tracker.uri
    until = time.time() + MINUTE * how.minutes if how.minutes is not None else None
    parent = load_queue(name, url).user_attrs["parent_run_id"]
    record = None if begun.joined else tracker.continue_run(parent)
    log = to_record(record, how.workers) if record else lambda _: None
    last: list[Progress] = []
    try:
        with progress(f"{name}: runs") as advance:

            def watch(state: Progress) -> None:
                advance(state.done + state.failed, state.total, words(state, how.workers))
                log(state)
                last[:] = [state]

            if how.cluster is not None:
                _on_cluster(Errand(name, url, tracker.uri, str(Path.cwd()), until), how.cluster,
                            table_, watch)  # fmt: skip
            else:
                _here(name, url, table_, tracker, how, until, watch)
    except KeyboardInterrupt:
        if record:
            record.finish("killed", "interrupted; textgan study FILE --resume completes it")
        raise
    if record:
        record.flush()
    missing = last[0].waiting + last[0].later if last else 0
    if missing:
        err.print(f"{missing} runs were not begun within the budget; --resume completes them")
    if begun.joined:
        return leaderboard(tracker, name), tracker.link(name)
    return publish(tracker, name)


def _here(
    name: str,
    url: str,
    table_: StudyTable,
    tracker: Tracker,
    how: Work,
    until: float | None,
    watch: Watch,
) -> None:
    command = process.command("experiments", "worker", name, "--storage", url)
    command += ["--until", f"{until:.3f}"] if until is not None else []

    def here() -> None:
        work(name, tracker, url, train, registry(), until)

    drive(name, url, table_, how.workers, here, command, watch)


def _on_cluster(errand: Errand, places: Places, table_: StudyTable, watch: Watch) -> None:
    from experiments.ray_launcher import launch

    queue = load_queue(errand.study, errand.storage)
    launch(errand, places, lambda: watch(read_progress(queue, table_)))


def words(state: Progress, workers: int) -> str:
    """What a bar says beside its length."""
    said = []
    if state.best is not None:
        said.append(f"best {state.best:.4f} ({state.best_variant})")
    if state.failed:
        said.append(f"{state.failed} failed")
    left = state.seconds_left(workers)
    if left:
        said.append(f"about {duration(left)} left")
    return ", ".join(said)


def duration(seconds: float) -> str:
    """A time in words."""
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * HOUR:
        return f"{seconds / MINUTE:.0f} min"
    return f"{seconds / HOUR:.1f} h"


def show_plan(plan: Study, limit: Limit, tracker: Tracker, *, as_json: bool) -> None:
    """Plan, number of runs, estimated time and disk."""
    known = plan.kind.plan((), limit)
    runs = len(known.jobs) + known.later
    if limit.trials is not None and not plan.kind.arms():
        runs = min(runs, limit.trials)
    found = estimate(known.jobs, tracker)
    seconds = found.seconds * runs / limit.workers
    seeds = plan.table.seed_list()
    names = list({job.variant.name: None for job in known.jobs})
    if as_json:
        print_json(
            {
                "study": plan.table.name,
                "variants": names,
                "seeds": seeds,
                "runs": runs,
                "seconds": seconds,
                "seconds_a_run": found.seconds,
                "estimated_from": found.source,
                "bytes": found.bytes * runs,
            }
        )
        return
    rows: dict[str, list[str]] = {}
    for job in known.jobs:
        rows.setdefault(job.variant.name, []).append(str(job.seed))
    cells = [[name, ", ".join(used)] for name, used in rows.items()]
    out.print(plan.table.question, markup=False)
    out.print(table(["variant", "seeds"], cells))
    out.print(Markdown(plan.kind.describe()))
    out.print(plan_words(runs, known.later, seconds, found, limit.workers, plan.table.ranked_by))


def plan_words(
    runs: int, later: int, seconds: float, found: Estimate, workers: int, metric: str
) -> str:
    """The plan's size in a few lines."""
    after = f" ({later} of them are settled when the others have ended)" if later else ""
    return (
        f"{runs} runs{after}, ranked by {metric}\n"
        f"time: about {duration(seconds)} with {workers} worker{'s' if workers > 1 else ''}, "
        f"{found.seconds:.1f} s a run, {found.source}\n"
        f"disk: about {found.bytes * runs / 1e6:.0f} MB"
    )
