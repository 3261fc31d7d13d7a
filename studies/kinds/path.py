"""Path: from one system to another, a coordinate at a time, and what each was worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from core.config import parse
from studies.analysis.path import path_sections
from studies.analysis.wording import count
from studies.arms import Arm
from studies.attribution import Node, nodes_of, orders_within
from studies.coordinates import Walk
from studies.plan import NO_LIMIT, Definition, Done, Job, Limit, Plan, Variant
from studies.sections import Reading, Section
from studies.systems import tables_of
from studies.table import StudyTable


class Path:
    """Every system on the way, with the same seeds."""

    class Table(StudyTable):
        """The two ends."""

        origin: str = Field(alias="from")  # a system
        target: str = Field(alias="to")
        groups: dict[str, list[str]] = Field(default={})  # name -> slots and settings
        nodes: Annotated[int, Field(ge=3, le=4096)] = 64  # systems to be trained, at most

        @property
        def ends(self) -> tuple[str, str]:
            """Names of the two ends."""
            return _name(self.origin), _name(self.target)

    def __init__(self, table: Table, definition: Definition) -> None:
        self.table, where = table, definition.where
        self.start, self.end = table.ends
        origin, target = (
            parse(tables_of(end, table, definition), definition.resolver, f"{where}, {end}")
            for end in table.ends
        )
        walk = Walk(origin, target, definition.resolver, where)
        self.coordinates = walk.coordinates(table.groups)
        k = len(self.coordinates)
        self.orders, self.complete = orders_within(k, max(table.nodes, k + 1))
        nodes = {node: None for order in self.orders for node in nodes_of(order)}
        self.variants = []
        for node in sorted(nodes, key=lambda node: (len(node), sorted(node))):
            picked = [self.coordinates[i] for i in sorted(node)]
            name = self._called(node)
            config = walk.config(picked, f"{where}, {name}")
            changed = ", ".join(each.name for each in picked)
            self.variants.append(Variant(name, {"changed": changed}, config, whole=True))
        # The ends first: they say whether there is a difference to explain.
        self.variants = [self.variants[0], self.variants[-1], *self.variants[1:-1]]

    def plan(self, done: Sequence[Done], limit: Limit = NO_LIMIT) -> Plan:
        """Seeds outermost, the two ends first."""
        seeds = self.table.seed_list()
        return Plan(tuple(Job(variant, seed) for seed in seeds for variant in self.variants))

    def arms(self) -> Sequence[Arm]:
        """None: every setting is given."""
        return ()

    def describe(self) -> str:
        """The coordinates and the orders."""
        lines = "\n".join(
            f"- **{each.name}**: {', '.join(f'`{key}`' for key in each.keys)}"
            for each in self.coordinates
        )
        spent = self.table.budget.words if self.table.budget else "what its file says"
        orders = "every order" if self.complete else f"{len(self.orders)} orders, drawn in pairs"
        return (
            f"From **{self.start}** to **{self.end}** in {len(self.coordinates)} coordinates:\n\n"
            f"{lines}\n\n{orders}, {len(self.variants)} systems x "
            f"{count(len(self.table.seed_list()), 'seed')}; each run spends {spent}; what "
            f"cannot be changed on its own is changed together."
        )

    @staticmethod
    def sections(reading: Reading) -> list[Section]:
        """What each coordinate was worth."""
        return path_sections(reading)

    def _called(self, node: Node) -> str:
        """Named from the nearer end."""
        k = len(self.coordinates)
        if not node or len(node) == k:
            return self.end if node else self.start
        if 2 * len(node) <= k:
            return f"{self.start}, but {self._names(node)}"
        return f"{self.end}, but {self._names(frozenset(range(k)) - node)}"

    def _names(self, node: Node) -> str:
        return ", ".join(self.coordinates[i].name for i in sorted(node))


def _name(system: str) -> str:
    return system.rpartition("/")[2].removesuffix(".toml")
