"""Finding a run by what a person types: an id, the beginning of one, or a name."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import InputError, nearest
from core.tracking.protocol import RunRecord

SHORTEST = 4  # characters of an id that are enough, where they are unique


def find_run(runs: Sequence[RunRecord], key: str) -> RunRecord:
    """The one run that `key` means; InputError when none or several."""
    matches = [run for run in runs if run.run_id == key]
    matches = matches or [run for run in runs if run.name == key]
    if not matches and len(key) >= SHORTEST:
        matches = [run for run in runs if run.run_id.startswith(key)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        ids = ", ".join(run.run_id[:8] for run in matches[-5:])
        raise InputError(f"{key!r} means {len(matches)} runs; give an id, such as {ids}")
    if not runs:
        raise InputError(f"no run {key!r}: the store has no runs yet")
    raise InputError(f"no run {key!r}{nearest(key, {run.name for run in runs})}")
