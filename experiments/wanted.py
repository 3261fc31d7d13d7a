"""What is asked for when a run is begun or resumed, and what is known of it before it has parts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from core.allocator import keep_freed_memory
from core.config import Config, parse, read_toml
from core.errors import InputError, MachineError
from core.nn.precision import settle
from core.tracking.protocol import IDENTITY, Outcome, Tracker
from variants import registry

Report = Callable[[int, int | None, Mapping[str, float | None]], None]
ID_LENGTH = 32


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    run_id: str
    outcome: Outcome
    updates: int
    seconds: float
    metrics: Mapping[str, float | None]  # "eval/..." of the last evaluation

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


@dataclass(frozen=True)
class Wanted:
    """What is asked of one run; see `run`."""

    config: Config | None
    experiment: str
    name: str | None = None
    parent_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    resume: str | None = None
    report: Report | None = None
    started: Callable[[str], None] | None = None
    tested: bool = False


@dataclass(frozen=True)
class Prepared:
    """What is known of a run before any of its parts is made."""

    config: Config
    device: torch.device
    run_id: str  # of one that is resumed
    folder: Path


def look_up(wanted: Wanted, tracker: Tracker) -> Result | Prepared:
    """A finished run's result, or what is to be run."""
    config, resume = wanted.config, wanted.resume
    run_id, folder = _found(tracker, resume) if resume is not None else ("", Path())
    if resume is not None:
        if (folder / "result.json").exists():
            return Result(**json.loads((folder / "result.json").read_text()))
        config = _stored_config(folder, config)
    if config is None:
        raise InputError("nothing to run: give a system or a file, or --resume RUN")
    device = pick_device(config)
    torch.set_num_threads(config.train.threads)
    settle(config.precision, device)
    keep_freed_memory()
    return Prepared(config, device, run_id, folder)


def _found(tracker: Tracker, key: str) -> tuple[str, Path]:
    """The run that `key` means and its folder; the store is not asked where the folder is here."""
    runs = tracker.store_dir / "runs"
    if len(key) == ID_LENGTH and key.isalnum() and (runs / key / "config.toml").exists():
        return key, runs / key
    record = tracker.run(key)
    return record.run_id, folder_of(runs, record.tags.get(IDENTITY, record.run_id), record.run_id)


def pick_device(config: Config) -> torch.device:
    """The device asked for; MachineError when CUDA is asked for and not there."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise MachineError("device = 'cuda': this machine has no usable GPU; use device = 'cpu'")
    cuda = config.device != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if cuda else "cpu")


def folder_of(runs: Path, identity: str, run_id: str) -> Path:
    """The folder of a run under its own id."""
    reserved, folder = runs / identity, runs / run_id
    if not identity.isalnum():  # a tag that anybody may have written
        return folder
    if not folder.exists() and reserved.exists():
        reserved.rename(folder)
    elif reserved.exists() and reserved != folder:
        shutil.rmtree(reserved)
    return folder


def keep_config(folder: Path, config: Config) -> None:
    """Write down what a resumed run is made from."""
    unfinished = folder / "config.writing"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(config.toml(), encoding="utf-8")
        unfinished.replace(folder / "config.toml")
    except OSError as error:
        raise MachineError(f"{folder}: cannot be written ({error.strerror})") from None


def _stored_config(folder: Path, given: Config | None) -> Config:
    file = folder / "config.toml"
    if not file.exists():
        if given is None:
            raise InputError(f"{folder}: nothing to resume from, the run's files are gone")
        return given  # begun on another machine: anew, under its id
    stored = parse(read_toml(file), registry(), str(file))
    if given is not None and given != stored:
        ours, theirs = given.flat(), stored.flat()
        keys = sorted(k for k in {*ours, *theirs} if ours.get(k) != theirs.get(k))
        raise InputError(
            f"--resume: the configuration differs from the run's in {', '.join(keys)}; "
            f"leave it out to go on with the run's own"
        )
    return stored
