"""Finds strategies by slot and name: files under variants/, then entry points of other packages."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from core.config import SLOTS, nearest, slot_name
from core.errors import InputError

ENTRY_POINTS = "textgan.variants"


class Registry:
    """Resolves (slot, name) to a strategy class; knows names without importing anything."""

    def __init__(self, folder: Path, plugins: Mapping[tuple[str, str], EntryPoint]) -> None:
        self._plugins = plugins
        self._names = {
            slot: sorted(
                {file.stem for file in (folder / place).glob("*.py") if file.stem != "__init__"}
                | {name for (plugin_slot, name) in plugins if plugin_slot == slot}
            )
            for slot, place in SLOTS.items()
        }

    def names(self, slot: str) -> list[str]:
        """Names of the strategies of a slot, sorted; InputError for an unknown slot."""
        slot = slot_name(slot)
        if slot not in self._names:
            raise InputError(f"no slot {slot!r}{nearest(slot, self._names)}")
        return list(self._names[slot])

    def strategy(self, slot: str, name: str) -> Any:
        """The class of a strategy; InputError with the nearest name when there is none."""
        names = self.names(slot)
        slot = slot_name(slot)
        if name not in names:
            raise InputError(f"no {slot.replace('_', ' ')} {name!r}{nearest(name, names)}")
        if (slot, name) in self._plugins:
            return self._plugins[slot, name].load()
        return _class_in(f"variants.{SLOTS[slot]}.{name}")

    def describe(self, slot: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """Slot -> rows of name, summary (first docstring line), paper, needs, offers."""
        slots = [slot_name(slot)] if slot else list(SLOTS)
        return {
            each: [_row(name, self.strategy(each, name)) for name in self.names(each)]
            for each in slots
        }


@cache
def registry() -> Registry:
    """The registry of this installation."""
    plugins = {}
    for point in entry_points(group=ENTRY_POINTS):
        slot, _, name = point.name.partition(".")
        plugins[slot_name(slot), name] = point
    return Registry(Path(__file__).parent, plugins)


def _class_in(module_name: str) -> Any:
    module = importlib.import_module(module_name)
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module_name and "Config" in vars(value)
    ]
    if len(classes) != 1:
        raise TypeError(f"{module_name} must define one class with a Config, not {len(classes)}")
    return classes[0]


def _row(name: str, strategy: Any) -> dict[str, Any]:
    return {
        "name": name,
        "summary": (strategy.__doc__ or "").strip().splitlines()[0],
        "paper": strategy.paper,
        "needs": [f"{slot}: {capability}" for slot, capability in sorted(strategy.needs.items())],
        "offers": sorted(strategy.offers),
    }
