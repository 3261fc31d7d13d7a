"""Whole systems in a study: settings of their own file, shared ones of the study.

Shared are the corpus, the sentence length, the evaluation, the device and the budget: what makes
rows comparable. Everything else is the system's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from core.config import parse, slot_name
from studies.cells import changed
from studies.plan import Definition, Variant
from studies.table import Budget, StudyTable

SHARED = ("corpus", "evaluation", "device")
SPENT = ("updates", "minutes", "clock")


def whole_systems(table: StudyTable, definition: Definition) -> list[Variant]:
    """The rows of `study.systems`."""
    rows = []
    for system in table.systems:
        where = f"{definition.where}, system {system.name}"
        config = parse(tables_of(system.name, table, definition), definition.resolver, where)
        rows.append(Variant(system.name, {}, config, whole=True))
    return rows


def tables_of(row: str, table: StudyTable, definition: Definition) -> dict[str, Any]:
    """The tables of a system that the study names, with everything that it says of them."""
    tables = shared(definition.systems[row], definition.tables)
    if table.budget:
        tables = spend(tables, table.budget)
    settings = next((each.set for each in table.systems if each.name == row), {})
    return changed(tables, settings, f"{definition.where}, system {row}")


def shared(system: Mapping[str, Any], study: Mapping[str, Any]) -> dict[str, Any]:
    """A system's tables with what all rows of the study share."""
    tables = {slot_name(key): deepcopy(value) for key, value in system.items()}
    for key in SHARED:
        if key in study:
            ours = study[key]
            tables[key] = {**tables.get(key, {}), **ours} if isinstance(ours, Mapping) else ours
    if "corpus" in study:
        tables["corpus"] = dict(study["corpus"])
    for name, keys in (("model", ("length",)), ("train", SPENT)):
        ours = {key: study[name][key] for key in keys if key in study.get(name, {})}
        kept = tables.get(name, {})
        if name == "train" and ours:
            kept = {key: value for key, value in kept.items() if key not in SPENT}
        tables[name] = {**kept, **ours}
    return tables


def spend(tables: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
    """The tables with the budget in place of what they say themselves (SPENT)."""
    made = deepcopy(dict(tables))
    train = {key: value for key, value in made.get("train", {}).items() if key not in SPENT}
    if budget.seconds is not None:
        train["minutes"] = budget.seconds / 60
    elif budget.cpu_seconds is not None:
        train.update(minutes=budget.cpu_seconds / 60, clock="cpu")
    elif budget.updates is not None:
        train["updates"] = budget.updates
    elif budget.tokens is not None:
        one = train.get("batch_size", 64) * made.get("model", {}).get("length", 64)
        train["updates"] = math.ceil(budget.tokens / one)
    made["train"] = train
    return made
