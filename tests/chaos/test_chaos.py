"""The short form: a few faults of every kind, one line each, nothing lost."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.conftest import ROOT

LINE = re.compile(
    r"^(?P<fault>.+): tried (\d+), survived (\d+), lost (?P<lost>.+?)( \(.*\))? in \d+ s$"
)


def test_nothing_is_lost() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    lines = [LINE.match(line) for line in done.stdout.splitlines()[1:]]
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert len(lines) == 5
    assert all(line is not None and line["lost"] == "nothing" for line in lines), done.stdout
