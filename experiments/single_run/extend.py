"""A run that goes further: `textgan run --resume RUN --set train.updates=...`.

Its weights equal those of a run that had the larger budget from its start, bit for bit on a CPU.
Therefore nothing in it may depend on where the budget ends; `textgan fork` continues the other runs
as new ones.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from core.config import Config, blame, override, parse, read_toml
from core.config.renamed import HASH_TAG, current_tables
from core.errors import InputError, listed
from core.files import write_atomically
from core.plural import count
from core.tracking.protocol import EXTENDED, RunTracker, Tracker
from core.training.players import sampling_spec
from core.training.state import budget_spent
from experiments.single_run.checkpoints import Checkpoints, stored_config
from variants import registry

BUDGET = ("train.updates", "train.minutes")


def extended(run_id: str, folder: Path, overrides: Sequence[str]) -> Config:
    """The configuration of a run with another budget; InputError if other settings differ."""
    file, short = folder / "config.toml", run_id[:8]
    if not file.exists():
        raise InputError(f"run {short}: its files are not here ({file}), so it cannot go further")
    tables = current_tables(read_toml(file))
    with blame(str(file), overrides):
        config = parse(override(tables, overrides), registry(), str(file))
    if others := set(differing(config, parse(tables, registry(), str(file)))) - {*BUDGET}:
        raise InputError(
            f"--resume: {listed(sorted(others))} cannot be changed, only {' and '.join(BUDGET)}; "
            f"textgan fork {short} starts a new run with other settings"
        )
    return config


def differing(a: Config, b: Config) -> list[str]:
    """The settings in which two configurations differ."""
    ours, theirs = a.flat(), b.flat()
    return sorted(k for k in {*ours, *theirs} if ours.get(k) != theirs.get(k))


def before_extension(folder: Path, given: Config | None) -> Config | None:
    """The configuration of a run that shall go further, as it is stored: the `given` one differs in
    the budget alone. None for any other run.
    """
    if given is None or not (folder / "config.toml").exists():
        return None
    stored = stored_config(folder)
    return stored if {*differing(given, stored)} - {*BUDGET} == set() and given != stored else None


def check_extension(tracker: Tracker, run_id: str, folder: Path, config: Config) -> None:
    """InputError if the run cannot go on as if it had had this budget from its start."""
    name, file = f"run {run_id[:8]}", folder / "result.json"
    fork = f"textgan fork {run_id[:8]} --set ... continues it as a new run"
    if study := tracker.run(run_id).tags.get("study"):
        raise InputError(f"{name} is one of study {study!r}, whose runs share a budget; {fork}")
    result = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    if result and (result["outcome"] != "ok" or result.get("reason")):
        ending = ", ".join(filter(None, [result["outcome"], result.get("reason")]))
        raise InputError(f"{name} did not end by its budget ({ending}); {fork}")
    if keys := _of_budget(config):
        raise InputError(
            f"{name} follows its budget in {listed(keys)}: with a larger one it would have been "
            f"another run from its first update on; {fork}"
        )
    saved = Checkpoints(folder, config).last()
    if saved is None and result:
        raise InputError(f"{name}: its last checkpoint is gone, removed by textgan runs gc")
    if saved is not None and budget_spent(config.train, saved.counters):
        done = f"{count(saved.counters.update, 'update')} in {saved.counters.seconds:.0f} s"
        raise InputError(f"{name} has spent this budget ({done}); raise {' or '.join(BUDGET)}")


def write_extension(record: RunTracker, folder: Path, config: Config) -> None:
    """Record the new budget; from then on the run has not ended. The store keeps parameters as they
    are, so tags replace them.
    """
    budget = {f"{EXTENDED}{key}": str(config.flat()[key]) for key in BUDGET if key in config.flat()}
    record.set_tags({**budget, HASH_TAG: config.config_hash()})
    record.log_text(config.toml(), "config.toml")
    record.persist()
    (folder / "result.json").unlink(missing_ok=True)  # first: if killed here, it only ends again
    write_atomically(folder / "config.toml", config.toml())


def _of_budget(config: Config) -> list[str]:
    """The settings whose effect depends on the fraction of the budget that is spent."""
    train = config.train
    start, middle = (sampling_spec(config, registry(), at).temperature for at in (0.0, 0.5))
    found = {
        "train.lr_decay": train.lr_decay != 1,
        "train.instance_noise": train.instance_noise > 0,
        "train.curriculum_start": train.curriculum_start is not None,
        "temperature": start != middle and getattr(config.temperature, "steps", None) is None,
        "system.steps": getattr(config.system, "steps", 0) is None,
    }
    return [key for key, follows in found.items() if follows]
