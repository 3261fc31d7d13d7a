"""`python -m tests.chaos`: one line a fault, tried, survived, lost.

The short form writes no figures. `--long` is `make chaos`: it goes on where its record ends, so it
can be stopped and run in pieces, such as `--only runs --count 50`. `--sum` prints what the record
comes to.
"""

from __future__ import annotations

import argparse
import functools
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from experiments.single_run import session
from experiments.study_worker import code_fingerprint
from studies import report
from tests.chaos.crowd import crowds, large_crowds
from tests.chaos.disks import full_disks
from tests.chaos.guided import guided
from tests.chaos.interference import interfere
from tests.chaos.kills import kill_runs, kill_workers
from tests.chaos.mutants import READERS, mutants
from tests.chaos.outages import outages
from tests.chaos.tally import Record, Tally, total
from tests.chaos.world import Say, World

LOOK_SECONDS = 10.0
Act = Callable[[World, int, Say], Tally]


@dataclass(frozen=True)
class Kind:
    """A kind of fault: how it is tried, how often in the short and the long form, and after how
    many of them the record is written.
    """

    act: Act
    short: int
    long: int
    piece: int


KINDS = {
    "runs": Kind(kill_runs, 2, 200, 12),
    "workers": Kind(kill_workers, 1, 50, 6),
    "outages": Kind(outages, 1, 50, 10),
    "disks": Kind(full_disks, 1, 20, 2),
    "crowds": Kind(crowds, 0, 5, 1),
    "interference": Kind(interfere, 1, 100, 5),
    "large_crowds": Kind(large_crowds, 0, 5, 1),
    **{
        f"mutants/{name}": Kind(functools.partial(mutants, name), 0, 10_000, 1_000)
        for name in READERS
    },
    **{
        f"guided/{name}": Kind(functools.partial(guided, name), 0, 10_000, 10_000)
        for name in READERS
    },
}


class Pieces:
    """Tries faults in a folder of its own, piece by piece."""

    def __init__(self, folder: Path, record: Record, seed: int, load: float) -> None:
        self.world, self.record = World(folder, random.Random(seed)), record
        self.seed, self.load = seed, load

    def run(self, name: str, times: int) -> Iterator[Tally]:
        """So many faults of a kind, a tally a piece."""
        kind, done = KINDS[name], total(name, self.record.of(name)).tried
        self.world.rng = random.Random(f"{self.seed} {name} {done}")
        while times > 0:
            began, spent = time.monotonic(), _cpu()
            tally = kind.act(self.world, min(kind.piece, times), self.say)
            tally.seconds, tally.cpu = time.monotonic() - began, _cpu() - spent
            tally.code = [code_fingerprint()[:8]]
            self.record.add(name, tally)
            yield tally
            if tally.tried == 0:  # not possible here
                return
            times -= tally.tried

    def say(self, tally: Tally) -> None:
        """So far, on one line of a terminal or a line each in a file; then wait for a calm load."""
        line = tally.line()
        sys.stderr.write(f"\r{line}\033[K" if sys.stderr.isatty() else f"  so far {line}\n")
        sys.stderr.flush()
        while os.getloadavg()[0] > self.load:
            time.sleep(LOOK_SECONDS)


def main() -> int:
    asked = _asked()
    torch.set_num_threads(1)
    import mlflow.pyfunc  # noqa: F401 - once, here, and not in every child

    if not asked.long:  # figures are most of the time of a small run and of a report
        session.log_curves = report.save = lambda *_: None
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    record = Record(asked.record.absolute() if asked.record else None)
    chosen = [
        name for name in KINDS
        if not asked.only or any(name.startswith(kind) for kind in asked.only.split(","))
    ]  # fmt: skip
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        pieces = Pieces(Path(folder), record, asked.seed, asked.load)
        for name in [] if asked.sum else chosen:
            wanted = KINDS[name].long if asked.long else KINDS[name].short
            wanted = asked.count or wanted - total(name, record.of(name)).tried
            for _ in pieces.run(name, wanted):
                sys.stderr.write("\n" if sys.stderr.isatty() else "")
            if record.of(name):
                print(_line(name, record), flush=True)
        os.chdir(here)
    if asked.sum:
        print("\n".join(_line(name, record) for name in chosen if record.of(name)))
    return int(any(tally.lost for name, tally in record.pieces if name in chosen))


def _line(name: str, record: Record) -> str:
    found = record.of(name)
    whole = total(found[0].fault if found else name, found)
    return f"{whole.line()} {whole.cost()}"


def _cpu() -> float:
    """Seconds of this process and of all that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", help=f"kinds of faults, with commas: {', '.join(KINDS)}")
    parser.add_argument("--count", type=int, help="how many more of each; default: what is missing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", type=Path, help="a file that keeps what was tried, and grows")
    parser.add_argument("--sum", action="store_true", help="try nothing, print the record")
    parser.add_argument("--load", type=float, default=float("inf"), help="wait while it is higher")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
