"""The strategies: one folder per slot, one file per strategy; the file name is its name.

A strategy's module defines one public class that inherits from `Strategy`, with a `Config` inside
if it has settings. What the strategies of a slot share is in the `__init__.py` of its folder.
Strategies of other packages come through the entry-point group `textgan.variants` as
`slot.name = "package.module:Class"`.
"""

import importlib
import traceback
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from core.config.slots import FOLDERS, PLUGINS, slot_name
from core.errors import InputError, nearest
from core.interfaces import Strategy
from core.plugins import origin

LABORATORY = "laboratory"  # a folder that is no slot: exact gradients of the estimators


class Registry:
    """Maps (slot, name) to a strategy class. A module is imported when its class is first used."""

    def __init__(self, folder: Path, plugins: Mapping[tuple[str, str], EntryPoint]) -> None:
        self._plugins = plugins
        self._names: dict[str, list[str]] = {}
        self._classes: dict[tuple[str, str], Any] = {}
        # A sentence about each file that nothing finds.
        self.lost = [
            f"{file} is ignored: {name!r} is no slot{nearest(name, FOLDERS)}"
            for file in sorted(folder.glob("*/*.py"))
            if (name := file.parent.name) not in (*FOLDERS, LABORATORY) and file.stem != "__init__"
        ]
        for slot in FOLDERS:
            ours = {file.stem for file in (folder / slot).glob("*.py")} - {"__init__"}
            theirs = {name for (plugin_slot, name) in plugins if plugin_slot == slot}
            for name in sorted(ours & theirs):
                raise InputError(
                    f"{origin(plugins[slot, name])}: the harness has a {slot}.{name} of its own; "
                    f"give the plug-in's strategy another name"
                )
            self._names[slot] = sorted(ours | theirs)

    def names(self, slot: str) -> list[str]:
        """Names of the strategies of a slot, sorted; InputError for an unknown slot."""
        slot = slot_name(slot)
        if slot not in self._names:
            raise InputError(f"no slot {slot!r}{nearest(slot, self._names)}")
        return list(self._names[slot])

    def strategy(self, slot: str, name: str) -> Any:
        """The class of a strategy; InputError with the nearest name if there is none."""
        names, slot = self.names(slot), slot_name(slot)
        if name not in names:
            lost = [f"; {said}" for said in self.lost if f"/{name}.py" in said]
            raise InputError(
                f"no {slot.replace('_', ' ')} {name!r}{lost[0] if lost else nearest(name, names)}"
            )
        key = slot, name
        if key not in self._classes:
            plugin = self._plugins.get(key)
            self._classes[key] = (
                _class_in(f"variants.{slot}.{name}") if plugin is None else _loaded(plugin)
            )
        return self._classes[key]

    def describe(self, slot: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """Slot -> rows of name, summary (first docstring line), paper, needs, offers."""
        slots = [slot_name(slot)] if slot else list(FOLDERS)
        return {
            each: [_row(name, self.strategy(each, name)) for name in self.names(each)]
            for each in slots
        }


@cache
def registry() -> Registry:
    """The registry of this installation."""
    plugins: dict[tuple[str, str], EntryPoint] = {}
    for point in entry_points(group=PLUGINS):
        slot, _, name = point.name.partition(".")
        key = slot_name(slot), name
        if key[0] not in FOLDERS or not name:
            raise InputError(
                f"{origin(point)}: entry point {point.name!r} must be SLOT.NAME with a slot of "
                f"{', '.join(FOLDERS)}"
            )
        if key in plugins:
            raise InputError(
                f"{origin(point)} and {origin(plugins[key])} both have a {key[0]}.{name}; "
                f"uninstall one of them"
            )
        plugins[key] = point
    return Registry(Path(__file__).parent, plugins)


def _loaded(point: EntryPoint) -> Any:
    try:
        strategy = point.load()
    except Exception as error:  # any error of a foreign module at import
        raise InputError(
            f"{origin(point)}: {point.value} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(strategy, type):
        raise InputError(f"{origin(point)}: {point.value} must be a class")
    return strategy


def place_in(file: str, error: BaseException, line: int = 1) -> str:
    """`FILE:LINE` of the last line of this file that an error passed through, else of `line`."""
    passed = [each for each in traceback.extract_tb(error.__traceback__) if each.filename == file]
    if isinstance(error, SyntaxError) and error.filename == file:
        return f"{file}:{error.lineno}"
    return f"{file}:{passed[-1].lineno if passed else line}"


def _class_in(module_name: str) -> Any:
    file = str(Path(__file__).parents[1].joinpath(*module_name.split("."))) + ".py"
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        what = f"{type(error).__name__}: {getattr(error, 'msg', error)}"
        raise InputError(f"{place_in(file, error)}: cannot be imported: {what}") from error
    classes = [
        value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, Strategy)
        and value.__module__ == module_name
        and not name.startswith("_")
    ]
    if len(classes) != 1:
        raise InputError(f"{file}: must define one public Strategy, not {len(classes)}")
    return classes[0]


def _row(name: str, strategy: Any) -> dict[str, Any]:
    return {
        "name": name,
        "summary": (strategy.__doc__ or "").strip().splitlines()[0],
        "paper": strategy.paper,
        "needs": [f"{slot}: {capability}" for slot, capability in sorted(strategy.needs.items())],
        "offers": sorted(strategy.offers),
    }
