"""`textgan runs delete | restore | gc`: what goes is listed with its size and confirmed first.

Besides deleted runs, `gc` removes what finished runs no longer need: the checkpoints to resume from
and fully delivered journals. Kept checkpoints, the configuration and the result stay.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from filelock import FileLock, Timeout
from rich.filesize import decimal

from core.errors import InputError, listed
from core.plural import count
from core.tracking.delivery import complete
from core.tracking.journal import journal_path
from core.tracking.locations import is_below
from core.tracking.mlflow_store import MlflowTracker
from core.tracking.protocol import NONE, RunRecord
from experiments.console import stderr, table
from experiments.single_run.checkpoints import LAST

UNFINISHED = "*.writing"  # files that a kill left incomplete


@dataclass(frozen=True)
class Unneeded:
    """Files of one finished run that it no longer needs."""

    run_id: str
    paths: tuple[Path, ...]
    store_dir: Path

    @property
    def size(self) -> int:
        """Bytes; a file with a second hard link (a kept checkpoint) frees none."""
        files = [file for path in self.paths for file in (path, *path.rglob("*"))]
        stats = [file.stat() for file in files if file.is_file()]
        return sum(stat.st_size for stat in stats if stat.st_nlink == 1)

    @property
    def contents(self) -> str:
        """What the files are."""
        journal = any(path.suffix == ".jsonl" for path in self.paths)
        state = any(path.parent.name == self.run_id for path in self.paths)
        return " and ".join(["checkpoint"] * state + ["journal"] * journal)

    def remove(self) -> None:
        """Remove permanently; nothing of a run that goes on by now."""
        journal = journal_path(self.store_dir, self.run_id)
        if not (self.store_dir / "runs" / self.run_id / "result.json").exists():
            return  # `run --resume` extends it
        if journal.exists() and not _is_free(journal):
            return
        for path in self.paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def unneeded(store_dir: Path) -> list[Unneeded]:
    """The files that each finished run no longer needs; none that a link leads to elsewhere."""
    runs = store_dir / "runs"
    folders = sorted(p for p in runs.iterdir() if p.is_dir()) if runs.is_dir() else []
    ended = [p for p in folders if not p.is_symlink() and (p / "result.json").exists()]
    found = {p.name: (*_states(p), *_journal(store_dir, p.name)) for p in ended}
    own = {name: tuple(path for path in paths if is_below(path, store_dir, follow=True))
           for name, paths in found.items()}  # fmt: skip
    return [Unneeded(name, paths, store_dir) for name, paths in own.items() if paths]


def _states(folder: Path) -> Iterator[Path]:
    last = folder / LAST
    for path in (last, last.with_suffix(".previous"), *folder.glob(UNFINISHED)):
        if path.exists():
            yield path


def _journal(store_dir: Path, run_id: str) -> list[Path]:
    """The files of a fully delivered journal. One that maps to another id in the store stays."""
    path = journal_path(store_dir, run_id)
    if not path.exists() or path.with_suffix(".id").exists() or not complete(path):
        return []
    parts = (path, path.with_suffix(".cursor"), path.with_suffix(".lock"), path.with_suffix(""))
    return [part for part in parts if part.exists()]


def _is_free(journal: Path) -> bool:
    """Whether no process has it open and everything in it was delivered."""
    try:
        with FileLock(journal.with_suffix(".lock"), timeout=0):
            return complete(journal)
    except Timeout:
        return False


def delete(tracker: MlflowTracker, keys: Sequence[str], *, yes: bool) -> None:
    """Delete runs and their children, so that `restore` can undo it."""
    found = _with_children(tracker, [tracker.run(key) for key in keys])
    trash = tracker.trash()
    registered = trash.registered([record.run_id for record in found])
    _show([(r.run_id, f"{r.experiment}: {r.name}", trash.size(r.run_id)) for r in found])
    for run_id, model in registered.items():
        stderr.print(f"note: {run_id[:8]} is {model} in the registry", markup=False)
    _confirm(f"delete {count(len(found), 'run')}?", yes=yes)
    trash.mark([record.run_id for record in found])
    stderr.print(f"{count(len(found), 'run')} deleted; undo with: textgan runs restore RUN")


def restore(tracker: MlflowTracker, keys: Sequence[str]) -> None:
    """Restore deleted runs, by id or its beginning, and deleted experiments with all their runs, by
    name; InputError unless each matches one.
    """
    trash = tracker.trash()
    experiments = trash.experiments()
    names = [key for key in keys if key in experiments]
    deleted = [each for each in trash.leftovers() if each.known] if len(names) < len(keys) else []
    chosen = []
    for key in keys:
        if key in names:
            continue
        matches = [each.run_id for each in deleted if each.run_id.startswith(key)]
        if len(matches) != 1:
            known = listed([*experiments, *(each.run_id[:8] for each in deleted)], "none")
            some = f"{len(matches)} deleted runs match" if matches else "no deleted run or study"
            raise InputError(f"{some} {key!r}; deleted: {known}")
        chosen += matches
    trash.restore(chosen)
    for name in names:
        trash.restore_experiment(name)
    if chosen:
        stderr.print(f"{count(len(chosen), 'run')} restored")
    if names:
        stderr.print(f"with all their runs restored: {', '.join(names)}", markup=False)
    if tracker.undelivered():
        stderr.print("values wait here; `textgan sync` delivers them")


def collect_garbage(tracker: MlflowTracker, *, yes: bool) -> None:
    """Remove deleted runs permanently, files without a run, and unneeded files of finished runs."""
    trash = tracker.trash()
    tracker.store.check_alone()
    leftovers = trash.leftovers()
    registered = trash.registered([each.run_id for each in leftovers])
    for run_id, model in registered.items():
        stderr.print(f"kept: {run_id[:8]} is {model} in the registry", markup=False)
    removed = [each for each in leftovers if each.run_id not in registered]
    gone = {each.run_id for each in leftovers}
    thinned = [each for each in unneeded(tracker.store_dir) if each.run_id not in gone]
    if not removed and not thinned:
        stderr.print("nothing to remove")
        return
    names = {run.run_id: f"{run.experiment}: {run.name}" for run in tracker.runs(columns=NONE)}
    rows = [(each.run_id, each.name, each.size) for each in removed]
    rows += [
        (each.run_id, f"{names.get(each.run_id, 'finished')} ({each.contents})", each.size)
        for each in thinned
    ]
    _show(rows)
    parts = [count(len(removed), "run")] * bool(removed)
    parts += [f"unneeded files of {count(len(thinned), 'run')}"] * bool(thinned)
    what = " and ".join(parts)
    _confirm(f"remove {what} permanently?", yes=yes)
    for leftover in removed:
        trash.purge(leftover)
    for files in thinned:
        files.remove()
    stderr.print(f"{what} removed, {decimal(sum(size for *_, size in rows))} freed")


def _with_children(tracker: MlflowTracker, found: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs and their descendants, each once."""
    children: dict[str, list[RunRecord]] = {}
    for study in {record.experiment for record in found}:
        for run in tracker.runs(study):
            children.setdefault(run.parent_id or "", []).append(run)
    selected: dict[str, RunRecord] = {}
    waiting = list(found)
    while waiting:
        record = waiting.pop(0)
        selected[record.run_id] = record
        waiting += children.get(record.run_id, [])
    return list(selected.values())


def _show(entries: Sequence[tuple[str, str, int]]) -> None:
    rows = [[run_id[:8], name, decimal(size)] for run_id, name, size in entries]
    stderr.print(table(["run", "what", "size"], rows, console=stderr))
    stderr.print(f"{len(entries)} in all, {decimal(sum(size for *_, size in entries))}")


def _confirm(question: str, *, yes: bool) -> None:
    """Ask; end the command unless the answer is yes. InputError without a terminal."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError("nothing was deleted: there is no terminal to ask on; use --yes")
    if not typer.confirm(question, err=True):
        stderr.print("nothing was deleted")
        raise typer.Exit
