"""`python -m tests.chaos.guided READER TIMES`: atheris looks for files that a reader does not take,
guided by which lines of ours each one reaches (`pip install -c constraints.txt atheris`).
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chaos.tally import Tally

OURS = ["core.text", "core.config", "core.checkpoint", "core.tracking.journal",
        "core.tracking.delivery", "core.metrics.files", "experiments.generate",
        "studies.definition", "studies.judgement", "studies.summary",
        "variants.registry"]  # fmt: skip
LONGEST = 20_000  # bytes of a file
RUNS = re.compile(rb"^(?:#|Done )(\d+)", re.MULTILINE)


def guided(reader: str, world: Any, times: int, say: Callable[[Tally], None]) -> Tally:
    """Files for one reader that were made to reach new lines: answered, or refused in words."""
    tally = Tally(f"guided mutants, {reader}")
    if importlib.util.find_spec("atheris") is None:
        tally.note("not tried: atheris is not installed")
        return tally
    command = [sys.executable, "-m", "tests.chaos.guided", reader, str(times)]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*command, f"-seed={world.rng.randrange(1, 2**31)}"],
        cwd=root,
        capture_output=True,
        check=False,
    )
    said = done.stdout + done.stderr
    runs = [int(number) for number in RUNS.findall(said)]
    tally.tried = max(runs, default=0) if done.returncode else times
    tally.survived = tally.tried - bool(done.returncode)
    if done.returncode:
        words = [line for line in said.decode(errors="replace").splitlines() if "Error" in line]
        tally.lost.append((words or ["ended with no word"])[0][:200])
    say(tally)
    return tally


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
        (seeds / str(number)).write_bytes(bytes([number]) + whole[name][:LONGEST])
    place = folder / "mutants" / target.example.parent.name / target.example.name

    def one(data: bytes) -> None:
        """The first byte says which file of a folder the others are."""
        chosen = names[data[0] % len(names)] if data else names[0]
        mutants.put(place, {**whole, chosen: data[1:]})
        fault = mutants.outcome(target.read, place)
        if fault is not None:
            raise AssertionError(f"FaultError: {fault}")

    settings = [f"-runs={times}", f"-max_len={LONGEST}", "-handle_alrm=0", "-rss_limit_mb=4096",
                f"-artifact_prefix={folder}/", *flags, str(seeds)]  # fmt: skip
    atheris.Setup([sys.argv[0], *settings], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
