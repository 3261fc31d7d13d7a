"""What went wrong, by name: nothing that ended badly is left out of a report."""

from __future__ import annotations

from core.tracking.protocol import WORST, RunRecord
from studies.sections import Reading, Section

BAD = (*WORST, "killed", "failed")
READING = (
    "Diverged and collapsed runs are results: they stand in the scores, as the worst. Broken and "
    "interrupted runs stand in no score; `textgan study FILE --resume` tries them again."
)


def failures(reading: Reading) -> list[Section]:
    """Every run that did not end well; none where all did."""
    bad = [run for run in reading.seeds if _ending(run) in BAD]
    if not bad:
        return []
    bad.sort(key=lambda run: (BAD.index(_ending(run)), run.name))
    rows = [
        [_ending(run), run.tags.get("variant", run.name), run.tags.get("seed", ""),
         run.tags.get("updates", ""), run.tags.get("reason", ""), run.run_id[:8]]
        for run in bad
    ]  # fmt: skip
    columns = ["outcome", "variant", "seed", "updates", "reason", "run"]
    return [Section("failures", "Failures", READING, columns, rows)]


def _ending(run: RunRecord) -> str:
    if run.outcome is not None:
        return run.outcome
    return {"FAILED": "failed", "KILLED": "killed"}.get(run.status, "running")
