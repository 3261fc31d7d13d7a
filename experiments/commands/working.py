"""What `textgan study` does between its plan and its leaderboard."""

from __future__ import annotations

import os
import sys
import time

from core.tracking.protocol import Tracker
from experiments.console import err, out, print_json, progress, table
from experiments.estimate import Estimate, estimate
from experiments.runner import run as train
from studies.definition import Study
from studies.drive import drive, to_record
from studies.execute import work
from studies.leaderboard import Leaderboard
from studies.plan import Limit
from studies.progress import Progress
from studies.queue import load_queue
from studies.report import publish
from studies.table import StudyTable
from variants import registry

MINUTE, HOUR = 60, 3600


def work_through(
    name: str,
    url: str,
    table_: StudyTable,
    tracker: Tracker,
    workers: int,
    minutes: float | None,
) -> tuple[Leaderboard, str]:
    """Run a study that was begun to its end, or to the end of its time; leaderboard and link."""
    os.environ["MLFLOW_TRACKING_URI"] = tracker.uri
    until = time.time() + MINUTE * minutes if minutes is not None else None
    command = [sys.executable, "-m", "experiments", "worker", name, "--storage", url]
    command += ["--until", f"{until:.3f}"] if until is not None else []
    record = tracker.continue_run(load_queue(name, url).user_attrs["parent_run_id"])
    log = to_record(record, workers)
    last: list[Progress] = []
    try:
        with progress(f"{name}: runs") as advance:

            def watch(state: Progress) -> None:
                advance(state.done + state.failed, state.total, words(state, workers))
                log(state)
                last[:] = [state]

            def here() -> None:
                work(name, tracker, url, train, registry(), until)

            drive(name, url, table_, workers, here, command, watch)
    except KeyboardInterrupt:
        record.finish("killed", "interrupted; textgan study FILE --resume completes it")
        raise
    record.flush()
    missing = last[0].waiting + last[0].later if last else 0
    if missing:
        err.print(f"{missing} runs were not begun within the budget; --resume completes them")
    return publish(tracker, name)


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
    for line in plan.kind.describe().splitlines():
        out.print(line, markup=False)
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
