"""`textgan variants check`: the conformance rules, then three updates with a strategy, and three
with a strategy that needs each capability it offers.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Mapping, Sequence
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
    """Check a strategy's conformance and train with it, once more for each capability that another
    strategy needs of it; InputError names the failure. The first result.
    """
    slot = slot_name(slot)
    strategy = check(registry(), slot, name)
    result = _train(strategy, f"{slot}.{name}: three updates", trial(slot, name))
    for capability in sorted(strategy.offers):
        for other, partner in _that_need(slot, capability)[:1]:
            what = f"{slot}.{name}: three updates with {other}.{partner}"
            _train(strategy, what, trial(slot, name, {other: partner}))
    return result


def _train(strategy: Any, what: str, config: Config) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return run(config, tracker=MemoryTracker(Path(folder)))
        except TextganError:
            raise
        except Exception as error:  # raised by the strategy's own code, or for want of some
            file, line = str(inspect.getsourcefile(strategy)), inspect.getsourcelines(strategy)[1]
            end = f"{what} end in {type(error).__name__}: {error}"
            raise InputError(f"{place_in(file, error, line)}: {end}") from error


def _that_need(slot: str, capability: str) -> list[tuple[str, str]]:
    """Slot and name of the strategies that need a capability of the one in a slot."""
    known = ((other, name) for other in SLOTS for name in registry().names(other))
    return [each for each in known if registry().strategy(*each).needs.get(slot) == capability]


def trial(slot: str, name: str, others: Mapping[str, str] = {}) -> Config:
    """A tiny smoke configuration with the strategy and these others; strategies that do not fit
    them are replaced.
    """
    tables = override(read_toml(SMOKE), TINY)
    if slot == SYSTEM:
        kept = {key: tables[key] for key in TABLES if key in tables}
        return parse({**kept, SYSTEM: {"name": name}}, registry(), f"trial of {slot}.{name}")
    given = {**others, slot: name}
    names = {**{key: tables[key]["name"] for key in SLOTS}, **given}
    if slot == "schedule" and not registry().strategy(slot, name).adversarial:
        names = {key: value for key, value in names.items() if key not in GAME}
    names = _fitting(names, tuple(given))
    chosen = {key: _kept(tables.get(key, {}), value) for key, value in names.items()}
    rest = {key: value for key, value in tables.items() if key not in SLOTS}
    return parse({**rest, **chosen}, registry(), f"trial of {slot}.{name}")


def _kept(table: Mapping[str, Any], name: str) -> dict[str, Any]:
    return dict(table) if table.get("name") == name else {"name": name}


def _fitting(names: dict[str, str], fixed: Sequence[str]) -> dict[str, str]:
    """The names, with as few replaced as make all compatible, and none in the slots `fixed`."""
    chosen = {key: registry().strategy(key, value) for key, value in names.items()}
    found = conflict(chosen)
    if found is None:
        return names
    ways = repairs(chosen, found, registry(), fixed)
    if not ways:
        raise InputError(
            f"{fixed[-1]}.{names[fixed[-1]]}: nothing in [{found.other}] fits [{found.slot}], "
            f"which needs {found.capability.replace('_', ' ')}"
        )
    return names | ways[0]
