"""Values on axes: how they are called, and what they do to a configuration's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from core.config import SLOTS, assign, slot_name
from core.errors import InputError
from studies.table import Contrast

JOINER = " · "


def labelled(axis: str, values: list[Any], where: str) -> dict[str, Any]:
    """Label to value; a label is a strategy's name, with its settings where names repeat."""
    is_slot = slot_name(axis) in SLOTS
    names = [value.get("name") if isinstance(value, Mapping) else value for value in values]
    found: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        label = str(name) if is_slot else f"{axis.rpartition('.')[2]}={name}"
        if names.count(name) > 1 and isinstance(value, Mapping):
            label += " " + " ".join(f"{k}={v}" for k, v in value.items() if k != "name")
        if label in found:
            raise InputError(f"{where}: study.axes.{axis}: {label!r} stands there twice")
        found[label] = value
    return found


def bare(axis: str, label: str) -> str:
    """A label of `labelled` where its axis stands beside it: without the axis's name."""
    return label.removeprefix(f"{axis.rpartition('.')[2]}=")


def put(tables: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Set a slot (by name or as a whole table) or one dotted setting, in place."""
    slot = slot_name(key)
    if slot not in SLOTS:
        assign(tables, key.split("."), value, f"{where}: {key}")
    elif isinstance(value, Mapping):
        tables[slot] = dict(value)
    elif tables.get(slot, {}).get("name") != value:
        tables[slot] = {"name": value}


def changed(tables: Mapping[str, Any], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A copy of the tables with all values put."""
    copy = deepcopy(dict(tables))
    for key, value in values.items():
        put(copy, key, value, where)
    return copy


def check_contrasts(
    contrasts: Sequence[Contrast],
    axes: Mapping[str, Mapping[str, Any]],
    rows: Sequence[str],
    where: str,
) -> None:
    """InputError for a contrast of an axis, a level or a row that is not there."""
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
