"""A run that starts from the state of another: `textgan fork`, or the table `[fork]` of a file.

Its first checkpoint is made from the parent's and is in its own folder before the run begins. From
then on it is a run like any other: it is resumed without its parent.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from core.config import Config, blame, override, parse, read_toml
from core.config.renamed import current_tables
from core.errors import InputError, listed
from core.text.corpus import Corpus
from core.training import checkpoint
from core.training.fork import check_fits, take_over
from core.training.state import TrainingState
from experiments.loading import open_corpus
from experiments.single_run.checkpoints import by_update, stored_config
from experiments.single_run.session import restore, training_state
from variants import registry


def forked(run_id: str, folder: Path, at: int | None, overrides: Sequence[str]) -> Config:
    """The configuration of a run with overrides, to start from its state after update `at`, or from
    its newest checkpoint.
    """
    file = folder / "config.toml"
    if not file.exists():
        raise InputError(f"run {run_id[:8]}: its files are not here ({file}), so it has no state")
    fork = {"run": run_id, **({} if at is None else {"at": at})}
    tables = {**current_tables(read_toml(file)), "fork": fork}
    where = f"{file}, forked"
    with blame(where, overrides):
        return parse(override(tables, overrides), registry(), where)


def resolve_fork(config: Config, run_id: str, folder: Path) -> Config:
    """The configuration with the id and the update of what it starts from; InputError where that
    checkpoint is not there.
    """
    assert config.fork is not None
    known, at = by_update(folder), config.fork.at
    at = max(known, default=None) if at is None else at
    if at is None or at not in known:
        wanted = "no checkpoint" if at is None else f"no checkpoint of update {at}"
        updates = listed([str(update) for update in known], "none (see train.keep_every)")
        raise InputError(f"run {run_id[:8]}: {wanted}; kept are: {updates}")
    fork = config.fork.model_copy(update={"run": run_id, "at": at})
    return config.model_copy(update={"fork": fork})


def check_fork(config: Config, theirs: Config, store_dir: Path) -> None:
    """InputError if a run of a study cannot start from the state of its trunk."""
    corpus = open_corpus(config.corpus, store_dir, config.model.length)
    _untrained(config, theirs, corpus, torch.device("cpu"), "the trunk")


def _untrained(
    config: Config, theirs: Config, corpus: Corpus, device: torch.device, name: str
) -> tuple[TrainingState, TrainingState]:
    """The first states of a fork and of its parent, which messages call `name`; InputError if the
    fork cannot start from the parent's.
    """
    if (config.corpus, config.model.length) != (theirs.corpus, theirs.model.length):
        raise InputError(
            f"fork: [corpus] or model.length differs from that of {name}; a fork keeps both"
        )
    state, parent = (training_state(each, corpus, device) for each in (config, theirs))
    check_fits(state.players, parent.players, name)
    return state, parent


def write_start(path: Path, config: Config, corpus: Corpus, device: torch.device) -> None:
    """Write the first checkpoint of a resolved fork to `path`, which is STORE/runs/ID/NAME.

    InputError if the model, the corpus or the budget does not allow the fork.
    """
    fork = config.fork
    assert fork is not None
    assert fork.at is not None
    folder, name = path.parents[1] / fork.run, f"run {fork.run[:8]}"
    theirs = stored_config(folder)
    state, parent = _untrained(config, theirs, corpus, device, name)
    # Again, because the parent may train on and replace its last checkpoints.
    resolve_fork(config, fork.run, folder)
    file = by_update(folder)[fork.at]
    saved = checkpoint.read(file)
    assert saved is not None
    restore(parent, saved, file, "it cannot be forked")
    take_over(state, parent, fork)
    if fork.count_from == "start" and state.budget_spent():
        raise InputError(
            f"fork: {name} has spent the budget at update {fork.at}, which is counted from its "
            f"start; raise train.updates or train.minutes, or give an earlier --at"
        )
    checkpoint.write(path, state.tensors(), state.counters, keep_previous=False)
