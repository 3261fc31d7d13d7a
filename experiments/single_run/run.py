"""One run from a configuration: corpus, players, training, evaluation, everything on record.

Next to the tracking store, `runs/<run id>/` keeps the configuration, the checkpoint and, once the
run has ended, its result. A resumed run needs nothing else.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from core.config import Config
from core.config.renamed import HASH_TAG
from core.errors import InputError, MachineError, listed
from core.files import write_atomically
from core.kernels import choose
from core.nn.precision import set_matmul_precision
from core.process import keep_freed_memory
from core.text.corpus import Corpus
from core.tracking.delivery import complete
from core.tracking.journal import journal_path
from core.tracking.memory import MemoryRun
from core.tracking.mlflow_store import open_tracker
from core.tracking.protocol import IDENTITY, RunLabels, RunTracker, Tracker
from core.training import data_parallel
from experiments.environment import environment_tags, uncommitted_changes
from experiments.loading import open_corpus
from experiments.single_run import extend
from experiments.single_run.checkpoints import LAST, Checkpoints, stored_config
from experiments.single_run.fork import resolve_fork, write_start
from experiments.single_run.session import Report, Result, Session, failures_recorded

ID_LENGTH = 32


def run(
    config: Config | None,
    *,
    tracker: Tracker | None = None,
    labels: RunLabels | None = None,
    resume: str | None = None,
    report: Report | None = None,
    started: Callable[[str], None] | None = None,
    test: bool = False,
    likelihood: bool = False,
) -> Result:
    """Train, evaluate and record one run. `resume` continues a run by id or name; then `config`
    may be None, or differ in the budget: then the run goes further (`single_run/extend.py`).

    A finished run returns its result again. One that died continues from its checkpoint, or starts
    anew under its id if it has none. An interrupt ends the run as `killed` after the current
    update; it can be resumed. `report` hears every value and may raise `Stopped`; `started` hears
    the run's id as soon as there is one. With `test` the run is scored on the test split at its
    end, as `test/...`; with `likelihood` a language model is among its baselines.
    """
    tracker = tracker or open_tracker()
    run_id, folder = find(tracker, resume) if resume is not None else ("", Path())
    before = extend.before_extension(folder, config) if resume is not None else None
    if config is not None and before is not None:
        extend.check_extension(tracker, run_id, folder, config)
    elif resume is not None:
        if (folder / "result.json").exists():
            return _finished(tracker, run_id, folder)
        config = _resumed_config(folder, config)
    if config is None:
        raise InputError("nothing to run: give a system or a file, or --resume RUN")
    begun = resume is not None and (folder / "config.toml").exists()
    if config.fork is not None and not begun:
        config = resolve_fork(config, *find(tracker, config.fork.run))
    device = set_up_process(config)
    with data_parallel.process_group(cuda=device.type == "cuda"):
        data_parallel.local_batch_size(config.train.batch_size)  # fails before anything is made
        build = partial(open_corpus, config.corpus, tracker.store_dir, config.model.length)
        corpus = data_parallel.main_first(build)
        if not data_parallel.is_main():
            record: RunTracker = _Discarded("rank", "rank", "rank", Path())
        elif resume is not None:
            if not begun:  # the run was started on another machine, and its folder is not here
                _write_start(folder, config, corpus, device)
            record = _continue(tracker, run_id, folder, before or config, corpus)
            if before is not None:
                extend.write_extension(record, folder, config)
        else:
            record, folder = _start(tracker, config, corpus, device, labels or RunLabels())
            if started is not None:
                started(record.run_id)
            _log_inputs(record, config, corpus)
        folder = data_parallel.broadcast(folder)
        with failures_recorded(record, config):
            result = Session(config, corpus, device, record, folder, report).run(
                test=test, likelihood=likelihood
            )
        _check_recorded(record)
        return replace(result, run_id=data_parallel.broadcast(result.run_id))


def set_up_process(config: Config) -> torch.device:
    """Set threads, precision and allocator of this process; the device to train on.

    MachineError when CUDA is asked for and not there.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise MachineError("device = 'cuda': this machine has no usable GPU; use device = 'cpu'")
    cuda = config.device != "cpu" and torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    torch.set_num_threads(config.train.threads)
    set_matmul_precision(config.precision, device)
    keep_freed_memory()
    return device


# A new run, a resumed run.


def _start(
    tracker: Tracker, config: Config, corpus: Corpus, device: torch.device, labels: RunLabels
) -> tuple[RunTracker, Path]:
    """A new run's record and folder."""
    identity = _identity(labels, int(labels.tags.get("seed", config.seed)))
    # What it starts from is written before the run begins: whatever kills it, it can be resumed.
    _write_start(tracker.store_dir / "runs" / identity, config, corpus, device)
    processes = data_parallel.world_size()
    record = tracker.start_run(
        labels.experiment,
        labels.name or _name(config),
        params=config.flat(),
        tags={
            "level": "run",
            "system": config.name,
            "seed": str(config.seed),
            "corpus": corpus.fingerprint,
            HASH_TAG: config.config_hash(),
            "kernels": choose(device, config.kernels).name,
            **environment_tags(device),
            **({"processes": str(processes)} if processes > 1 else {}),
            **({"forked_from": config.fork.run} if config.fork else {}),
            **labels.tags,
        },
        parent_id=labels.parent_id,
        identity=identity,
    )
    return record, _run_folder(tracker.store_dir / "runs", identity, record.run_id)


def _continue(
    tracker: Tracker, run_id: str, folder: Path, config: Config, corpus: Corpus
) -> RunTracker:
    """The record of a run that is resumed."""
    record = tracker.continue_run(run_id)
    # It may have died before all this was recorded. A fork has a checkpoint from the beginning.
    if config.fork is not None or not Checkpoints(folder, config).any():
        record.log_params(config.flat())
        _log_inputs(record, config, corpus)
    return record


def _name(config: Config) -> str:
    name, fork = f"{config.name} seed {config.seed}", config.fork
    return name if fork is None else f"{name}, fork of {fork.run[:8]} at {fork.at}"


def _identity(labels: RunLabels, seed: int) -> str:
    """What a run is known by before the store has given it an id. A study's run of one variant and
    seed has one identity, even if its first process died at once.
    """
    if not {"study", "variant"} <= labels.tags.keys():
        return uuid.uuid4().hex
    job = json.dumps([labels.tags["study"], labels.tags["variant"], seed])
    return hashlib.sha256(job.encode()).hexdigest()[:ID_LENGTH]


def _log_inputs(record: RunTracker, config: Config, corpus: Corpus) -> None:
    record.log_text(config.toml(), "config.toml")
    source, fingerprint = config.corpus.source, corpus.fingerprint
    for split in ("training", "validation", "test"):
        record.log_dataset(Path(source).name, fingerprint, source, split)
    patch = uncommitted_changes()
    if patch:
        record.log_text(patch, "uncommitted.patch")


class _Discarded(MemoryRun):
    """The record of a rank other than 0, which nobody reads: it makes no files."""

    def log_file(self, path: str, make: Callable[[Path], object]) -> None:
        """Nothing."""

    def log_model(self, folder: Path, step: int = 0, *, kept: bool = False) -> None:
        """Nothing."""


def _finished(tracker: Tracker, run_id: str, folder: Path) -> Result:
    """The result of a run that has ended, whose record is delivered first if it still waits."""
    result = Result(**json.loads((folder / "result.json").read_text()))
    waits = not complete(journal_path(tracker.store_dir, run_id))
    if waits and data_parallel.is_main():
        record = tracker.continue_run(run_id)
        record.finish(result.outcome)
        _check_recorded(record)
    return result


def _check_recorded(record: RunTracker) -> None:
    """MachineError if the store did not take the run, as when it was deleted while it trained."""
    if record.rejected:
        raise MachineError(
            f"run {record.run_id[:8]} was trained to its end and is not recorded: {record.rejected}"
        )


# The folder of a run.


def find(tracker: Tracker, key: str) -> tuple[str, Path]:
    """Id and folder of the run that `key` means; the store is not queried if the folder is here."""
    runs = tracker.store_dir / "runs"
    if len(key) == ID_LENGTH and key.isalnum() and (runs / key / "config.toml").exists():
        return key, runs / key
    record = tracker.run(key)
    return record.run_id, _run_folder(runs, record.tags.get(IDENTITY, record.run_id), record.run_id)


def _run_folder(runs: Path, identity: str, run_id: str) -> Path:
    """The folder of a run under its own id; it was made under the run's identity."""
    reserved, folder = runs / identity, runs / run_id
    if not identity.isalnum():  # a tag that anybody may have written
        return folder
    if not folder.exists() and reserved.exists():
        reserved.rename(folder)
    elif reserved.exists() and reserved != folder:
        shutil.rmtree(reserved)
    return folder


def _write_start(folder: Path, config: Config, corpus: Corpus, device: torch.device) -> None:
    """Write what a resumed run is made from, whole or not at all: its configuration and, of a fork,
    its first checkpoint.
    """
    if config.fork is not None:
        write_start(folder / LAST, config, corpus, device)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "config.toml", config.toml())
    except OSError as error:
        raise MachineError(f"{folder}: cannot be written ({error.strerror})") from None


def _resumed_config(folder: Path, given: Config | None) -> Config:
    file = folder / "config.toml"
    if not file.exists():
        if given is None:
            raise InputError(f"{folder}: nothing to resume from, the run's files are gone")
        return given  # begun on another machine: anew, under its id
    stored = stored_config(folder)
    if given is not None and given.fork is not None:  # what it starts from was resolved
        given = given.model_copy(update={"fork": stored.fork})
    if given is not None and given != stored:
        raise InputError(
            f"--resume: {listed(extend.differing(given, stored))} differ from the run's; leave the "
            f"configuration out to continue with the run's own"
        )
    return stored
