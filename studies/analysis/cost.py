"""What the study cost: seconds and updates of every variant, so that a comparison can be judged
fair, and the machine they were spent on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from core.tracking.protocol import ENDED, RunRecord
from studies.analysis.wording import count
from studies.sections import Reading, Section

APART = "evaluating"  # tag: seconds of evaluations


def cost(reading: Reading) -> list[Section]:
    """A row a variant; none where no run has ended."""
    runs = {run.run_id: run for run in reading.seeds}
    trials = reading.trials()
    rows = []
    for row in reading.board.rows:
        ended = [runs[run_id] for run_id in row.seed_runs.values()]
        seconds, updates = _numbers(ended, "seconds"), _numbers(ended, "updates")
        if not seconds or not updates:
            continue
        apart = _numbers(ended, APART)
        rows.append(
            [row.variant, f"{np.mean(updates):.0f}", f"{np.mean(seconds):.1f}",
             f"{min(seconds):.1f} to {max(seconds):.1f}", f"{sum(updates) / sum(seconds):.3g}",
             f"{np.mean(apart):.1f}" if counted_apart(ended) else "in its seconds"]
        )  # fmt: skip
    if not rows:
        return []
    everything = [*runs.values(), *trials]
    devices = sorted({run.tags["device"] for run in everything if "device" in run.tags})
    budget = reading.table.budget
    given = f"Each run may spend {budget.words}. " if budget else ""
    also = f" and {count(len(trials), 'trial')}" if trials else ""
    judged = duration(sum(_numbers(everything, APART)))
    beside = f"and {judged} of evaluations" if counted_apart(everything) else "with evaluations"
    return [
        Section(
            "cost",
            "Cost",
            f"{given}{count(len(runs), 'run')}{also} took "
            f"{duration(sum(_numbers(everything, 'seconds')))} of training {beside} on "
            f"{', '.join(devices) or 'an unknown device'}. Where variants differ in seconds or "
            f"updates, a ranking at equal updates is not one at equal time.",
            ["variant", "updates", "seconds a run", "range", "updates a second", "evaluating, s"],
            rows,
        )
    ]


def counted_apart(runs: Sequence[RunRecord]) -> bool:
    """Whether the seconds of these runs are of updates alone; older ones hold evaluations, too."""
    return all(APART in run.tags for run in runs if run.outcome in ENDED)


def duration(seconds: float) -> str:
    """`48 s`, `12.5 min`, `3.2 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _numbers(runs: Iterable[RunRecord], tag: str) -> list[float]:
    return [float(run.tags[tag]) for run in runs if tag in run.tags]
