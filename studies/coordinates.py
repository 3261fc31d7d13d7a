"""In what two systems differ, as coordinates that can be changed one at a time.

A coordinate is a slot (the whole strategy with its settings), a plain setting, or a group of those
that the study's file names. Coordinates of which some combination cannot work are merged, until
every combination of the coordinates can: otherwise a walk would have steps that do not exist.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from core.config import SLOTS, Config, Resolver, assign, parse
from core.errors import InputError

IGNORED = ("name", "seed")
MOST = 10  # coordinates whose combinations are all checked
JOINED = " + "


@dataclass(frozen=True)
class Coordinate:
    """Keys that change together."""

    name: str
    keys: tuple[str, ...]  # slots and dotted settings


class Walk:
    """From one system to another."""

    def __init__(self, origin: Config, target: Config, resolver: Resolver, where: str) -> None:
        self._origin, self._target = origin.tables(), target.tables()
        self._resolver, self._where = resolver, where

    def coordinates(self, groups: Mapping[str, Sequence[str]]) -> list[Coordinate]:
        """The coordinates, grouped by the file and by what can work; InputError for bad groups."""
        keys = self._differing()
        if not keys:
            raise InputError(f"{self._where}: the two systems do not differ")
        grouped = []
        for name, members in groups.items():
            taken = tuple(key for key in keys if _member(key, members))
            unknown = [m for m in members if not any(_member(key, [m]) for key in keys)]
            if unknown:
                raise InputError(
                    f"{self._where}: study.groups.{name}: the two systems do not differ in "
                    f"{unknown[0]!r}; they do in {', '.join(keys)}"
                )
            grouped.append(Coordinate(name, taken))
            keys = [key for key in keys if key not in taken]
        found = [
            *(Coordinate(key if "." in key else key.replace("_", " "), (key,)) for key in keys),
            *grouped,
        ]
        if len(found) > MOST:
            raise InputError(
                f"{self._where}: the systems differ in {len(found)} coordinates, at most {MOST} "
                f"can be walked; put some together in study.groups: "
                f"{', '.join(each.name for each in found)}"
            )
        return self._merged(found)

    def config(self, coordinates: Sequence[Coordinate], where: str) -> Config:
        """The origin with these coordinates of the target; InputError where it cannot work."""
        tables = deepcopy(self._origin)
        for key in (key for each in coordinates for key in each.keys):
            value = _value(self._target, key)
            if value is None:
                _remove(tables, key)
            elif key in SLOTS:
                tables[key] = value
            else:
                assign(tables, key.split("."), value, where)
        return parse(tables, self._resolver, where)

    def _differing(self) -> list[str]:
        keys = [slot for slot in SLOTS if self._origin.get(slot) != self._target.get(slot)]
        for table in sorted({*self._origin, *self._target} - {*SLOTS, *IGNORED}):
            ours, theirs = self._origin.get(table, {}), self._target.get(table, {})
            if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
                names = sorted({*ours, *theirs})
                keys += [f"{table}.{n}" for n in names if ours.get(n) != theirs.get(n)]
        return keys

    def _merged(self, found: list[Coordinate]) -> list[Coordinate]:
        broken = self._broken(found)
        if any(len(each) == len(found) for each in broken):
            raise InputError(f"{self._where}: the target itself cannot be made")
        while broken:
            # The pair whose merging leaves the fewest combinations that cannot work.
            pairs = itertools.combinations(range(len(found)), 2)
            a, b = min(
                pairs, key=lambda pair: sum((pair[0] in s) == (pair[1] in s) for s in broken)
            )
            both = Coordinate(found[a].name + JOINED + found[b].name, found[a].keys + found[b].keys)
            found = [each for i, each in enumerate(found) if i not in (a, b)] + [both]
            broken = self._broken(found)
        return found

    def _broken(self, found: Sequence[Coordinate]) -> list[frozenset[int]]:
        bad = []
        for size in range(len(found) + 1):
            for subset in itertools.combinations(range(len(found)), size):
                try:
                    self.config([found[i] for i in subset], self._where)
                except InputError:
                    bad.append(frozenset(subset))
        return bad


def _member(key: str, members: Sequence[str]) -> bool:
    """Whether a key is named, or its whole table is."""
    return any(key == each or key.startswith(f"{each}.") for each in members)


def _value(tables: Mapping[str, Any], key: str) -> Any:
    table, _, name = key.partition(".")
    found = tables.get(table)
    return found.get(name) if name and isinstance(found, Mapping) else deepcopy(found)


def _remove(tables: dict[str, Any], key: str) -> None:
    table, _, name = key.partition(".")
    if name:
        tables[table] = {k: v for k, v in tables.get(table, {}).items() if k != name}
    else:
        tables.pop(table, None)
