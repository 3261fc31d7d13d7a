"""What the study cost: seconds and updates of every variant, so that a comparison can be judged
fair, and the machine they were spent on.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from core.tracking.protocol import RunRecord
from studies.analysis.wording import count
from studies.sections import Reading, Section


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
        rows.append(
            [row.variant, f"{np.mean(updates):.0f}", f"{np.mean(seconds):.1f}",
             f"{min(seconds):.1f} to {max(seconds):.1f}", f"{sum(updates) / sum(seconds):.3g}"]
        )  # fmt: skip
    if not rows:
        return []
    everything = [*runs.values(), *trials]
    total = sum(_numbers(everything, "seconds"))
    devices = sorted({run.tags["device"] for run in everything if "device" in run.tags})
    budget = reading.table.budget
    given = next(((k, v) for k, v in budget or () if v is not None), None)
    words = f"Each run may spend {given[1]:g} {given[0]}. " if given else ""
    also = f" and {count(len(trials), 'trial')}" if trials else ""
    return [
        Section(
            "cost",
            "Cost",
            f"{words}{count(len(runs), 'run')}{also} took {duration(total)} of training on "
            f"{', '.join(devices) or 'an unknown device'}. Where variants differ in seconds or "
            f"updates, a ranking at equal updates is not one at equal time.",
            ["variant", "updates", "seconds a run", "range", "updates a second"],
            rows,
        )
    ]


def duration(seconds: float) -> str:
    """`48 s`, `12.5 min`, `3.2 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _numbers(runs: Iterable[RunRecord], tag: str) -> list[float]:
    return [float(run.tags[tag]) for run in runs if tag in run.tags]
