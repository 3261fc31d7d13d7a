"""Path: from one system to another, one coordinate at a time, and the contribution of each.

A coordinate is a slot (the whole strategy with its settings), a plain setting, or a group of those
that the study's file names. Coordinates of which some combination is invalid are merged until every
combination of coordinates is valid, so that every system between the two can run.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from core.config import Config
from core.config.parsing import assign
from core.config.renamed import previous_key
from core.config.slots import SLOTS
from core.errors import InputError, listed
from core.plural import count
from studies.analysis.path import Node, nodes_of, orders_within, path_sections
from studies.kinds import Kind
from studies.plan import Variant
from studies.sections import Reading, Section
from studies.table import SPENT, Definition, StudyTable, system_name

IGNORED = ("name", "seed")
MOST = 10  # coordinates whose combinations are all checked
JOINED = " + "


class Path(Kind):
    """Every system between the two, with the same seeds."""

    class Table(StudyTable):
        """The two ends."""

        origin: str = Field(alias="from")  # a system
        target: str = Field(alias="to")
        groups: dict[str, list[str]] = Field(default={})  # name -> slots and settings
        nodes: Annotated[int, Field(ge=3, le=4096)] = 64  # most systems to train

        @property
        def ends(self) -> tuple[str, str]:
            """Names of the two ends."""
            return system_name(self.origin), system_name(self.target)

    unused = (("contrasts", "a path reports the contribution of each coordinate instead"),)

    def __init__(self, table: Table, definition: Definition) -> None:
        self.table = table
        self.start, self.end = table.ends
        origin, target = (definition.system(end, table) for end in table.ends)
        budget = None if origin.own or target.own else table.budget
        between = Between(origin.config(), target.config(), definition.budgeted(budget))
        self.coordinates = between.coordinates(table.groups)
        k = len(self.coordinates)
        self.orders, self.complete = orders_within(k, max(table.nodes, k + 1))
        nodes = {node for order in self.orders for node in nodes_of(order)}
        self.variants = []
        for node in sorted(nodes, key=lambda node: (len(node), sorted(node))):
            picked = [self.coordinates[i] for i in sorted(node)]
            name = self._called(node)
            config = between.config(picked, name)
            changed = ", ".join(each.name for each in picked)
            self.variants.append(Variant(name, {"changed": changed}, config, whole=True))
        # The ends first: they show whether there is a difference to explain.
        self.variants = [self.variants[0], self.variants[-1], *self.variants[1:-1]]

    def check_file(self, where: str) -> None:
        """As for every kind, and InputError for systems other than the ends."""
        super().check_file(where)
        for name in (each.name for each in self.table.systems):
            if name not in self.table.ends:
                raise InputError(
                    f"{where}: study.systems: {name!r} is no end of the path; of a path it only "
                    f"changes settings of {' and '.join(map(repr, self.table.ends))}"
                )

    def describe(self) -> str:
        """The coordinates and the orders."""
        lines = "\n".join(
            f"- **{each.name}**: {', '.join(f'`{key}`' for key in each.keys)}"
            for each in self.coordinates
        )
        drawn = f"{count(len(self.orders), 'order')}, drawn in pairs"
        orders = "Every order" if self.complete else drawn
        coordinates = count(len(self.coordinates), "coordinate")
        return (
            f"From **{self.start}** to **{self.end}** in {coordinates}:\n\n"
            f"{lines}\n\n{orders}; {count(len(self.variants), 'system')} x "
            f"{count(len(self.table.seed_list()), 'seed')}; budget of each run: "
            f"{self.table.spent}. Settings that are not valid on their own change together."
        )

    @staticmethod
    def sections(reading: Reading) -> Iterator[Section]:
        """The contribution of each coordinate."""
        return path_sections(reading)

    def _called(self, node: Node) -> str:
        """Named from the nearer end."""
        k = len(self.coordinates)
        if not node or len(node) == k:
            return self.end if node else self.start
        near, others = self.start, node
        if 2 * len(node) > k:
            near, others = self.end, frozenset(range(k)) - node
        return f"{near}, but {', '.join(self.coordinates[i].name for i in sorted(others))}"


@dataclass(frozen=True)
class Coordinate:
    """Keys that change together."""

    name: str
    keys: tuple[str, ...]  # slots and dotted settings


class Between:
    """The systems between two: what differs, and each configuration."""

    def __init__(self, origin: Config, target: Config, definition: Definition) -> None:
        self._origin, self._target = origin.tables(), target.tables()
        self._definition, self._where = definition, definition.where
        self._written: Callable[[str], str] = previous_key if definition.old_names else str

    def coordinates(self, groups: Mapping[str, Sequence[str]]) -> list[Coordinate]:
        """The coordinates, grouped by the file and by validity; InputError for bad groups."""
        keys = self._differing()
        if not keys:
            raise InputError(
                f"{self._where}: study.from and study.to do not differ; give two different systems"
            )
        grouped = []
        for name, members in groups.items():
            unknown = [m for m in members if not any(_member(key, [m]) for key in keys)]
            if unknown:
                raise InputError(
                    f"{self._where}: study.groups.{name}: the two systems do not differ in "
                    f"{unknown[0]!r}; they differ in {listed(keys)}"
                )
            grouped.append(Coordinate(name, tuple(key for key in keys if _member(key, members))))
            keys = [key for key in keys if not _member(key, members)]
        single = [
            Coordinate(self._written(key) if "." in key else key.replace("_", " "), (key,))
            for key in keys
        ]
        found = [*single, *grouped]
        if len(found) > MOST:
            raise InputError(
                f"{self._where}: the systems differ in {len(found)} coordinates, at most {MOST} "
                f"are possible; combine some in study.groups: "
                f"{', '.join(each.name for each in found)}"
            )
        return self._merged(found)

    def config(self, coordinates: Sequence[Coordinate], where: str = "") -> Config:
        """The origin with these coordinates of the target; InputError if it is invalid."""
        tables = deepcopy(self._origin)
        for key in (key for each in coordinates for key in each.keys):
            table, _, name = key.partition(".")
            value = self._target.get(table)
            if name:
                value = value.get(name) if isinstance(value, Mapping) else None
            if value is not None and key in SLOTS:
                tables[key] = deepcopy(value)
            elif value is not None:
                assign(tables, key.split("."), deepcopy(value), self._where)
            elif name:
                tables[table] = {k: v for k, v in tables.get(table, {}).items() if k != name}
            else:
                tables.pop(table, None)
        return replace(self._definition, tables=tables).config(where=where)

    def _differing(self) -> list[str]:
        keys = [slot for slot in SLOTS if self._origin.get(slot) != self._target.get(slot)]
        for table in sorted({*self._origin, *self._target} - {*SLOTS, *IGNORED}):
            ours, theirs = self._origin.get(table, {}), self._target.get(table, {})
            if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
                names = sorted({*ours, *theirs})
                if table == "train" and self._definition.budget:  # which follow from the budget
                    names = [name for name in names if name not in SPENT]
                found = [f"{table}.{n}" for n in names if ours.get(n) != theirs.get(n)]
                keys += sorted(found, key=self._written)
        return keys

    def _merged(self, found: list[Coordinate]) -> list[Coordinate]:
        invalid = self._invalid(found)
        if any(len(each) == len(found) for each in invalid):
            raise InputError(
                f"{self._where}: study.to: its settings are not valid with the shared ones; run it "
                f"alone to see which"
            )
        while invalid:
            # Merge the pair that leaves the fewest invalid combinations.
            pairs = itertools.combinations(range(len(found)), 2)
            a, b = min(
                pairs, key=lambda pair: sum((pair[0] in s) == (pair[1] in s) for s in invalid)
            )
            both = Coordinate(found[a].name + JOINED + found[b].name, found[a].keys + found[b].keys)
            found = [each for i, each in enumerate(found) if i not in (a, b)] + [both]
            invalid = self._invalid(found)
        return found

    def _invalid(self, found: Sequence[Coordinate]) -> list[frozenset[int]]:
        bad = []
        for size in range(len(found) + 1):
            for subset in itertools.combinations(range(len(found)), size):
                try:
                    self.config([found[i] for i in subset])
                except InputError:
                    bad.append(frozenset(subset))
        return bad


def _member(key: str, members: Sequence[str]) -> bool:
    """Whether a key is named, or its whole table is."""
    return any(key == each or key.startswith(f"{each}.") for each in members)
