"""What runs that have ended no longer need: the checkpoints to resume from, and journals that were
delivered whole. Kept checkpoints (`experiments.single_run.checkpoints`), the configuration and the
result stay.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from core.tracking.delivery import complete
from experiments.single_run.checkpoints import LAST

UNFINISHED = "*.writing"  # what a kill left of a file


@dataclass(frozen=True)
class Spare:
    """Files of one run that may go."""

    run_id: str
    places: tuple[Path, ...]

    @property
    def size(self) -> int:
        """Bytes; a file that has another name too (a checkpoint that is kept) frees none."""
        files = [file for place in self.places for file in (place, *place.rglob("*"))]
        stats = [file.stat() for file in files if file.is_file()]
        return sum(stat.st_size for stat in stats if stat.st_nlink == 1)

    @property
    def words(self) -> str:
        """What they are."""
        journal = any(place.suffix == ".jsonl" for place in self.places)
        state = any(place.parent.name == self.run_id for place in self.places)
        return " and ".join(["checkpoint"] * state + ["journal"] * journal)

    def remove(self) -> None:
        """Remove for good; a journal that is being written after all stays."""
        for place in self.places:
            if place.suffix == ".jsonl" and not _is_free(place):
                return  # the parts of a journal stand at the end
            shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)


def spare(store_dir: Path) -> list[Spare]:
    """What could be removed of every run that has ended, by run."""
    runs = store_dir / "runs"
    folders = sorted(p for p in runs.iterdir() if p.is_dir()) if runs.is_dir() else []
    ended = [p for p in folders if not p.is_symlink() and (p / "result.json").exists()]
    found = [Spare(p.name, (*_states(p), *_journal(store_dir / "journal", p.name))) for p in ended]
    return [each for each in found if each.places]


def _states(folder: Path) -> Iterator[Path]:
    last = folder / LAST
    for place in (last, last.with_suffix(".previous"), *folder.glob(UNFINISHED)):
        if place.exists():
            yield place


def _journal(journals: Path, run_id: str) -> list[Path]:
    """The files of a journal that was delivered whole; one that stands for a run under another id
    in the store is needed.
    """
    path = journals / f"{run_id}.jsonl"
    if not path.exists() or path.with_suffix(".id").exists() or not complete(path):
        return []
    parts = (path, path.with_suffix(".cursor"), path.with_suffix(".lock"), path.with_suffix(""))
    return [part for part in parts if part.exists()]


def _is_free(journal: Path) -> bool:
    """Whether no process has it open, and nothing waits in it."""
    try:
        with FileLock(journal.with_suffix(".lock"), timeout=0):
            return complete(journal)
    except Timeout:
        return False
