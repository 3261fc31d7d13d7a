"""`python -m tests.chaos`: one line a fault, tried, survived, lost. `--long` is `make chaos`."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import torch

from tests.chaos import runs  # noqa: F401 - children are forked from a process that has it all
from tests.chaos.faults import Chaos, Tally

LONG = {"kills": 200, "outages": 50, "full_disks": 20, "workers": 5, "mutants": 10_000}
SHORT = {"kills": 2, "outages": 1, "full_disks": 1, "workers": 1, "mutants": 40}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", help="kinds of faults, with commas")
    parser.add_argument("--times", type=int, help="how often each")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    import mlflow.pyfunc  # noqa: F401 - once, here, and not in every child

    os.environ.pop("MLFLOW_TRACKING_URI", None)
    times = dict(LONG if asked.long else SHORT)
    kinds = asked.only.split(",") if asked.only else [*times]
    lost = False
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        chaos = Chaos(Path(folder), random.Random(asked.seed))
        print(f"a run: {chaos.seconds:.1f} s, {chaos.steps} file operations", flush=True)
        for kind in kinds:
            began = time.monotonic()
            tally: Tally = getattr(chaos, kind)(asked.times or times[kind], _progress)
            sys.stderr.write("\n" if sys.stderr.isatty() else "")
            print(f"{tally.line()} in {time.monotonic() - began:.0f} s", flush=True)
            lost |= bool(tally.lost)
    return int(lost)


def _progress(line: str) -> None:
    """So far: on one line of a terminal, or a line each in a file."""
    sys.stderr.write(f"\r{line}\033[K" if sys.stderr.isatty() else f"  so far {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
