"""A study file: the question, the axes, the seeds, and the configuration that they vary.

`[study]` says what is compared; every other table is the configuration that all variants share.
Everything is checked, variant by variant, before anything runs.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from core.config import (
    SLOTS,
    Config,
    Frozen,
    Resolver,
    assign,
    explain,
    override,
    parse,
    read_toml,
    slot_name,
)
from core.errors import InputError
from core.metrics.suite import METRICS

JOINER = " · "
Seeds = Annotated[int, Field(ge=1, le=10_000)] | Annotated[list[int], Field(min_length=1)]


class StudyTable(Frozen):
    """The `[study]` table."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    kind: Literal["ablation"] = "ablation"
    question: str = ""
    seeds: Seeds = 3  # how many (0, 1, ...), or which
    axes: Annotated[dict[str, Annotated[list[Any], Field(min_length=1)]], Field(min_length=1)]
    metric: str = "eval/ms_jaccard_2"
    base: str | None = None  # a system's file, relative to this one, that the tables add to

    @field_validator("metric")
    @classmethod
    def _metric_is_known(cls, metric: str) -> str:
        if metric.removeprefix("eval/") not in METRICS or not metric.startswith("eval/"):
            raise ValueError("must be one of " + ", ".join(f"eval/{name}" for name in METRICS))
        if METRICS[metric.removeprefix("eval/")].direction == "near":
            raise ValueError("has no better or worse of its own, it cannot rank variants")
        return metric

    def seed_list(self) -> list[int]:
        """The seeds, each variant's the same."""
        return self.seeds if isinstance(self.seeds, list) else list(range(self.seeds))

    @property
    def higher_is_better(self) -> bool:
        """Direction of the metric."""
        return METRICS[self.metric.removeprefix("eval/")].direction == "higher"


@dataclass(frozen=True)
class Variant:
    """One cell of the design: its values on the axes, and the configuration they make."""

    name: str
    values: Mapping[str, str]  # axis -> label
    config: Config


@dataclass(frozen=True)
class Study:
    """A checked study. `tables` is the file with overrides, from which it can be made again."""

    table: StudyTable
    tables: Mapping[str, Any]
    variants: tuple[Variant, ...]

    def definition(self) -> str:
        """JSON from which `from_definition` makes the same study."""
        return json.dumps(self.tables)


def load_study(path: Path, overrides: Sequence[str], resolver: Resolver) -> Study:
    """A study file with `a.b=value` overrides, checked; InputError names file and key."""
    tables = read_toml(path)
    if "study" not in tables:
        raise InputError(f"{path}: no [study] table; run it with: textgan run {path}")
    base = tables["study"].pop("base", None)
    if base is not None:
        merged = read_toml(path.parent / base)
        for key, value in tables.items():
            merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
        tables = merged
    tables = override(tables, overrides)
    tables.setdefault("name", tables["study"].get("name", path.stem))
    return make_study(tables, resolver, str(path))


def from_definition(definition: str, resolver: Resolver) -> Study:
    """The study of a stored definition."""
    return make_study(json.loads(definition), resolver, "the stored study")


def make_study(tables: Mapping[str, Any], resolver: Resolver, where: str) -> Study:
    """Every variant of the tables, checked."""
    try:
        table = StudyTable(**{"name": tables.get("name", "study"), **tables["study"]})
    except ValidationError as error:
        raise InputError(explain(error, StudyTable, where, prefix="study.")) from None
    base = {key: value for key, value in tables.items() if key != "study"}
    axes = {axis: _labelled(axis, values, where) for axis, values in table.axes.items()}
    variants = []
    for cell in itertools.product(*(labels.items() for labels in axes.values())):
        changed = deepcopy(base)
        for axis, (_, value) in zip(axes, cell, strict=True):
            _put(changed, axis, value, where)
        name = JOINER.join(label for label, _ in cell)
        config = parse(changed, resolver, f"{where}, variant {name}")
        labels = {axis: label for axis, (label, _) in zip(axes, cell, strict=True)}
        variants.append(Variant(name, labels, config))
    return Study(table, tables, tuple(variants))


def _labelled(axis: str, values: list[Any], where: str) -> dict[str, Any]:
    """Label to value; a label is a strategy's name, with its settings where names repeat."""
    is_slot = slot_name(axis) in SLOTS
    names = [value.get("name") if isinstance(value, dict) else value for value in values]
    labelled: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        label = str(name) if is_slot else f"{axis.rpartition('.')[2]}={name}"
        if names.count(name) > 1 and isinstance(value, dict):
            label += " " + " ".join(f"{k}={v}" for k, v in value.items() if k != "name")
        if label in labelled:
            raise InputError(f"{where}: study.axes.{axis}: {label!r} stands there twice")
        labelled[label] = value
    return labelled


def _put(tables: dict[str, Any], axis: str, value: Any, where: str) -> None:
    slot = slot_name(axis)
    if slot not in SLOTS:
        assign(tables, axis.split("."), value, f"{where}: study.axes.{axis}")
    elif isinstance(value, Mapping):
        tables[slot] = dict(value)
    elif tables.get(slot, {}).get("name") != value:
        tables[slot] = {"name": value}
