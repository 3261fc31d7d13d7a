"""What a study writes into a configuration: values of axes, shared settings and the budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from core.config.parsing import assign
from core.config.renamed import previous_key, previous_value, stored_keys
from core.config.slots import SLOTS, slot_name
from core.errors import InputError
from studies.table import Budget, Contrast

JOINER = " · "
SHARED = ("evaluation", "device")  # what makes rows comparable, next to corpus and length
SPENT = ("updates", "minutes", "clock")


def labelled(
    axis: str, values: list[Any], where: str, *, old_names: bool = False
) -> dict[str, Any]:
    """Label to value; a label is a strategy's name, with its settings where names repeat."""
    is_slot = slot_name(axis) in SLOTS
    names = [value.get("name") if isinstance(value, Mapping) else value for value in values]
    if old_names:
        names = [previous_value(axis, name) for name in names]
        axis = previous_key(axis)
    found: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        label = str(name) if is_slot else f"{axis.rpartition('.')[2]}={name}"
        if names.count(name) > 1 and isinstance(value, Mapping):
            label += " " + " ".join(f"{k}={v}" for k, v in value.items() if k != "name")
        if label in found:
            raise InputError(f"{where}: study.axes.{axis}: {label!r} is listed twice")
        found[label] = value
    return found


def bare(axis: str, label: str) -> str:
    """A label of `labelled` without the axis's name, for places that show the axis as well."""
    for key in stored_keys(axis):
        label = label.removeprefix(f"{key.rpartition('.')[2]}=")
    return label


def changed(tables: Mapping[str, Any], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A copy of the tables with each slot (by name or as a table) or dotted setting replaced."""
    copy = deepcopy(dict(tables))
    for key, value in values.items():
        slot = slot_name(key)
        if slot not in SLOTS:
            assign(copy, key.split("."), value, f"{where}: {key}")
        elif isinstance(value, Mapping):
            copy[slot] = dict(value)
        elif copy.get(slot, {}).get("name") != value:
            copy[slot] = {"name": value}
    return copy


def shared(system: Mapping[str, Any], study: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a system's file with the corpus, length, evaluation, device and budget of the
    study, which make rows comparable.
    """
    tables = {slot_name(key): deepcopy(value) for key, value in system.items()}
    for key in (key for key in SHARED if key in study):
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


def spend(tables: Mapping[str, Any], budget: Budget | None) -> Mapping[str, Any]:
    """The tables with the budget, if there is one, in place of their own (SPENT)."""
    if budget is None:
        return tables
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
    return {**made, "train": train}


def check_contrasts(
    contrasts: Sequence[Contrast],
    axes: Mapping[str, Mapping[str, Any]],
    rows: Sequence[str],
    where: str,
) -> None:
    """InputError for a contrast of an axis, a level or a row that does not exist."""
    for contrast in contrasts:
        axis = contrast.axis
        if axis is not None and axis not in axes:
            raise InputError(f"{where}: study.contrasts: no axis {axis!r}")
        known = list(axes[axis]) if axis is not None else rows
        for name in (contrast.level, contrast.reference):
            if name not in known:
                raise InputError(
                    f"{where}: study.contrasts: no {'level' if axis else 'variant'} {name!r}; "
                    f"known: {', '.join(known)}"
                )
