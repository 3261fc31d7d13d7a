"""`textgan variants check`: the conformance rules, then three updates with a strategy."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.config import Config, override, parse, read_toml
from core.config.slots import GAME, SLOTS, SYSTEM, conflict, slot_name
from core.errors import InputError, TextganError
from core.tracking.memory import MemoryTracker
from experiments.single_run.loading import SYSTEMS
from experiments.single_run.run import run
from experiments.single_run.session import Result
from variants import registry
from variants.conformance import check

SMOKE = SYSTEMS.parent / "smoke" / "run.toml"
TINY = ["model.length=12", "corpus.difficulty=easy", "corpus.sentences=300", "train.updates=3",
        "train.batch_size=8", "evaluation.every=3", "evaluation.sentences=20",
        "evaluation.references=20"]  # fmt: skip
TABLES = ("corpus", "model", "train", "evaluation")  # without the strategies


def try_strategy(slot: str, name: str) -> Result:
    """Check a strategy's conformance and train with it; InputError names the failure."""
    slot = slot_name(slot)
    check(registry(), slot, name)
    config = trial(slot, name)
    with tempfile.TemporaryDirectory() as folder:
        try:
            return run(config, tracker=MemoryTracker(Path(folder)))
        except TextganError:
            raise
        except Exception as error:  # raised by the strategy's own code
            raise InputError(
                f"{slot}.{name}: three updates end in {type(error).__name__}: {error}"
            ) from error


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
    """The names, with strategies other than `fixed` replaced until all are compatible. Of two
    incompatible ones, the one that is not settled is replaced by the first that fits all settled.
    """
    settled, resolver = [fixed], registry()
    while True:
        chosen = {key: resolver.strategy(key, value) for key, value in names.items()}
        found = conflict(chosen)
        if found is None:
            return names
        changing = found.other if found.other not in settled else found.slot
        fitting = [
            other
            for other in resolver.names(changing)
            if changing not in settled
            and all(
                _fit(resolver.strategy(changing, other), changing, chosen[key], key)
                for key in settled
            )
        ]
        if not fitting:
            raise InputError(
                f"{fixed}.{names[fixed]}: nothing in [{changing}] fits it, which needs "
                f"{found.capability.replace('_', ' ')}"
            )
        names = {**names, changing: fitting[0]}
        settled.append(changing)


def _fit(one: Any, its_slot: str, other: Any, other_slot: str) -> bool:
    """Whether each offers what the other needs."""
    needs, needed = one.needs.get(other_slot), other.needs.get(its_slot)
    return (needs is None or needs in other.offers) and (needed is None or needed in one.offers)
