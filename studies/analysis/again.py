"""How to get the same numbers: the command, and everything they were made with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from core.tracking.protocol import RunRecord
from studies.sections import Reading, Section

SHORT = 16  # characters of a commit or fingerprint


def again(reading: Reading) -> Section:
    """Command, commit, versions, device and data of the study's runs."""
    parent = reading.tracker.run(reading.board.parent_run_id)
    board, runs = reading.board, reading.seeds
    command = parent.tags.get("command", "")
    if command and "seeds_added" in parent.tags:  # what is said last counts
        command += f" --set study.seeds={json.dumps(reading.table.seeds, separators=(',', ':'))}"
    best = next(iter(board.rows[0].seed_runs.values())) if board.rows else None
    lines = [f"    {command}"] if command else []
    if best:
        lines.append(f"    textgan reproduce {best[:8]}")
    rows = [
        [words, value]
        for words, tag in (("commit", "git_commit"), ("corpus", "corpus"), ("device", "device"),
                           ("versions", "versions"))
        for value in _distinct(runs, tag)
    ]  # fmt: skip
    rows.append(["store", _without_password(reading.tracker.uri)])
    rows.append(["study's run", board.parent_run_id])
    return Section(
        "again",
        "How to reproduce",
        "The whole study; and, where the store that ran it is at hand, one run (the best "
        "variant's first seed) with a verdict on whether the numbers agree:\n\n"
        + "\n".join(lines)
        + "\n\nThe definition as it ran is the artifact `study.json`; each run keeps its own "
        "`config.toml`.",
        ["", ""],
        rows,
    )


def _without_password(uri: str) -> str:
    return re.sub(r"//([^:/@]*):[^@/]*@", r"//\1:***@", uri)


def _distinct(runs: Iterable[RunRecord], tag: str) -> list[str]:
    found = sorted({run.tags[tag] for run in runs if tag in run.tags})
    if tag == "git_commit":
        return [value[:SHORT] + ("+dirty" if value.endswith("+dirty") else "") for value in found]
    return [value[:SHORT] for value in found] if tag == "corpus" else found
