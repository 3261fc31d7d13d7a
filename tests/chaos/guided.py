"""`python -m tests.chaos.guided READER TIMES`: atheris looks for files that a reader does not take,
guided by which lines of ours each one reaches (`pip install -c constraints.txt atheris`).
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chaos.tally import Tally

OURS = ["core.text", "core.config", "core.training.checkpoint", "core.tracking.journal",
        "core.tracking.delivery", "core.metrics.files", "experiments.generate",
        "studies.definition", "studies.ratings", "studies.summary",
        "variants"]  # fmt: skip
LONGEST = 20_000  # bytes of a file
MEMORY_MB = 2600  # 2 GB, and what the process has before
START_SECONDS, SECONDS = 600, 0.5  # to start, and a file on average: beyond that it hangs
RUNS = re.compile(rb"^(?:#|Done )(\d+)", re.MULTILINE)
COVERED = re.compile(rb" cov: (\d+) ")
SLOWEST = "slowest"


def guided(reader: str, world: Any, times: int, say: Callable[[Tally], None]) -> Tally:
    """Files for one reader that were made to reach new lines: answered, or refused in words."""
    tally = Tally(f"guided mutants, {reader}")
    if importlib.util.find_spec("atheris") is None:
        tally.note("not tried: atheris is not installed")
        return tally
    with tempfile.TemporaryDirectory() as folder:  # libFuzzer ends the process, and cleans nothing
        status, said = _fuzz(reader, times, world.rng.randrange(1, 2**31), folder)
        for file in Path(folder).rglob(SLOWEST):
            tally.took(float(file.read_text()))
    tally.note("branches of ours reached", max(map(int, COVERED.findall(said)), default=0))
    tally.tried = max(map(int, RUNS.findall(said)), default=0) if status else times
    tally.survived = tally.tried - bool(status)
    if status:
        words = [line for line in said.decode(errors="replace").splitlines() if "Error" in line]
        tally.lost.append((words or ["ended with no word"])[0][:200])
    say(tally)
    return tally


def _fuzz(reader: str, times: int, seed: int, folder: str) -> tuple[int, bytes]:
    """Status of the process that fuzzes, and what it said."""
    command = [sys.executable, "-m", "tests.chaos.guided", reader, str(times), f"-seed={seed}"]
    try:
        done = subprocess.run(
            command,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "TMPDIR": folder},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=START_SECONDS + times * SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        return 1, (error.stdout or b"") + b"\nError: hung"
    return done.returncode, done.stdout


def main(reader: str, times: str, *flags: str) -> None:
    import atheris

    with atheris.instrument_imports(include=OURS, enable_loader_override=False):
        from tests.chaos import mutants

    folder = Path(tempfile.mkdtemp())
    (target,) = (each for each in mutants.targets(folder) if each.name == reader)
    whole = mutants.contents(target.example)
    names = sorted(whole)
    seeds = folder / "seeds"
    seeds.mkdir()
    for number, name in enumerate(names):
        content = whole[name]
        assert len(content) < LONGEST, f"{name}: cut, it would be refused at once"
        (seeds / str(number)).write_bytes(bytes([number]) + content)
    place = folder / "mutants" / target.example.parent.name / target.example.name
    longest = 0.0

    def one(data: bytes) -> None:
        """The first byte says which file of a folder the others are."""
        nonlocal longest
        chosen = names[data[0] % len(names)] if data else names[0]
        mutants.put(place, {**whole, chosen: data[1:]})
        began = time.monotonic()
        fault = mutants.outcome(target.read, place)
        if (took := time.monotonic() - began) > longest:
            longest = took
            (folder / SLOWEST).write_text(str(longest))
        if fault is not None:
            raise AssertionError(f"FaultError: {fault}")

    settings = [f"-runs={times}", f"-max_len={LONGEST}", "-handle_alrm=0",
                f"-rss_limit_mb={MEMORY_MB}", f"-artifact_prefix={folder}/", *flags,
                str(seeds)]  # fmt: skip
    atheris.Setup([sys.argv[0], *settings], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
