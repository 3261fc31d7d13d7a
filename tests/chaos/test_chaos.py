"""The short form: a few faults of every kind, one line each, nothing lost."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.__main__ import KINDS
from tests.chaos.tally import Record, Tally, total
from tests.conftest import ROOT

LINE = re.compile(
    r"^(?P<fault>.+): tried (\d+), survived (\d+), lost (?P<lost>.+?)( \(.*\))? in \d+ s, "
    r"\d+ s of CPU, nothing longer than [\d.]+ s, code \w{8}$"
)


@pytest.mark.slow
def test_nothing_is_lost() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    lines = [LINE.match(line) for line in done.stdout.splitlines()[1:]]
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert len(lines) == sum(kind.short > 0 for kind in KINDS.values())
    assert all(line is not None and line["lost"] == "nothing" for line in lines), done.stdout


def test_a_record_goes_on_where_it_ended(tmp_path: Path) -> None:
    first = Record(tmp_path / "record.jsonl")
    first.add("runs", Tally("kill", 3, 3, notes={"runs": 2}, seconds=1.5))
    first.add("disks", Tally("full disk", 1, 1))
    second = Record(tmp_path / "record.jsonl")
    torn = Tally("kill", seconds=0.5)
    torn.count(["weights"], 2)
    torn.note("runs")
    second.add("runs", torn)
    whole = total("kill", Record(tmp_path / "record.jsonl").of("runs"))
    assert whole.line() == "kill: tried 5, survived 3, lost weights (3 runs)"
    assert whole.seconds == 2.0
