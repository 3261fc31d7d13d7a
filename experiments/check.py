"""`textgan variants check`: the conformance rules, then three updates with a strategy."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.config import Config, override, parse, read_toml
from core.config.slots import GAME, SLOTS, SYSTEM, conflict, repairs, slot_name
from core.errors import InputError, TextganError
from core.tracking.memory import MemoryTracker
from experiments.loading import SYSTEMS
from experiments.single_run.run import run
from experiments.single_run.session import Result
from variants import place_in, registry
from variants.conformance import check

SMOKE = SYSTEMS.parent / "smoke" / "run.toml"
TINY = ["model.length=12", "corpus.difficulty=easy", "corpus.sentences=300", "train.updates=3",
        "train.batch_size=8", "evaluation.every=3", "evaluation.sentences=20",
        "evaluation.references=20"]  # fmt: skip
TABLES = ("corpus", "model", "train", "evaluation")  # without the strategies


def try_strategy(slot: str, name: str) -> Result:
    """Check a strategy's conformance and train with it; InputError names the failure."""
    slot = slot_name(slot)
    strategy = check(registry(), slot, name)
    with tempfile.TemporaryDirectory() as folder:
        try:
            return run(trial(slot, name), tracker=MemoryTracker(Path(folder)))
        except TextganError:
            raise
        except Exception as error:  # raised by the strategy's own code
            file, line = str(inspect.getsourcefile(strategy)), inspect.getsourcelines(strategy)[1]
            end = f"{slot}.{name}: three updates end in {type(error).__name__}: {error}"
            raise InputError(f"{place_in(file, error, line)}: {end}") from error


def trial(slot: str, name: str) -> Config:
    """A tiny smoke configuration with the strategy; strategies that do not fit it are replaced."""
    tables = override(read_toml(SMOKE), TINY)
    if slot == SYSTEM:
        kept = {key: tables[key] for key in TABLES if key in tables}
        return parse({**kept, SYSTEM: {"name": name}}, registry(), f"trial of {slot}.{name}")
    names = {**{key: tables[key]["name"] for key in SLOTS}, slot: name}
    if slot == "schedule" and not registry().strategy(slot, name).adversarial:
        names = {key: value for key, value in names.items() if key not in GAME}
    names = _fitting(names, slot)
    chosen = {key: _kept(tables.get(key, {}), value) for key, value in names.items()}
    others = {key: value for key, value in tables.items() if key not in SLOTS}
    return parse({**others, **chosen}, registry(), f"trial of {slot}.{name}")


def _kept(table: Mapping[str, Any], name: str) -> dict[str, Any]:
    return dict(table) if table.get("name") == name else {"name": name}


def _fitting(names: dict[str, str], fixed: str) -> dict[str, str]:
    """The names, with as few strategies other than `fixed` replaced as make all compatible."""
    chosen = {key: registry().strategy(key, value) for key, value in names.items()}
    found = conflict(chosen)
    if found is None:
        return names
    ways = repairs(chosen, found, registry(), fixed)
    if not ways:
        raise InputError(
            f"{fixed}.{names[fixed]}: nothing in [{found.other}] fits [{found.slot}], which needs "
            f"{found.capability.replace('_', ' ')}"
        )
    return names | ways[0]
