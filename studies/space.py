"""What a search varies: the `Search` ranges that are declared with a configuration's fields.

A study names fields, and may narrow a range or list choices; it cannot widen a range. Without names
every field that has a range is searched, except one whose own value lies outside of its range (such
as an average that is switched off); naming such a field is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from optuna import distributions
from pydantic import BaseModel

from core.config import Config, Search
from core.config.slots import SLOTS, slot_name
from core.errors import InputError, nearest
from studies.constraints import Constraint
from studies.table import Definition

Settings = Mapping[str, Any]
Space = Mapping[str, "Range"]
Sampler = Literal["tpe", "gp", "random", "quasi_random", "cma_es", "nsga2"]
Pruner = Literal["none", "median", "successive_halving", "hyperband"]


@dataclass(frozen=True)
class Range:
    """The values that one field can take."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False  # integers only
    choices: tuple[tuple[str, Any], ...] = ()  # label and value, instead of an interval

    def distribution(self) -> distributions.BaseDistribution:
        """For Optuna."""
        if self.choices:
            return distributions.CategoricalDistribution([label for label, _ in self.choices])
        if self.whole:
            return distributions.IntDistribution(int(self.low), int(self.high), log=self.log)
        return distributions.FloatDistribution(self.low, self.high, log=self.log)

    def value(self, drawn: Any) -> Any:
        """What Optuna drew, as a value of the configuration; in studies of earlier versions the
        field's name and `=` are before a choice.
        """
        if not self.choices:
            return drawn
        return next(v for label, v in self.choices if f"={drawn}".endswith(f"={label}"))

    def drawn(self, value: Any) -> Any:
        """The reverse of `value`; None if the range does not have the value."""
        if self.choices:
            return next((label for label, each in self.choices if value in (each, label)), None)
        inside = isinstance(value, int | float) and self.low <= value <= self.high
        return value if inside else None

    @property
    def text(self) -> str:
        """For people."""
        if self.choices:
            return ", ".join(label for label, _ in self.choices)
        return f"{self.low:g} to {self.high:g}{' (log)' if self.log else ''}"


@dataclass(frozen=True)
class Arm:
    """What a search varies of one system, and how."""

    name: str
    definition: Definition = field(compare=False)
    space: Space
    metrics: tuple[str, ...]  # the first ranks
    higher: tuple[bool, ...]
    trials: int
    sampler: Sampler = "tpe"
    pruner: Pruner = "none"
    published: tuple[Settings, ...] = ()  # enqueued first; the first of them is the system's own
    warm_start: str | None = None
    constraints: tuple[Constraint, ...] = ()

    def config(self, settings: Settings) -> Config:
        """The system with these settings; InputError where they do not go together."""
        return self.definition.config(settings, f"{self.name}, proposed settings")


def space_of(config: Config, named: Mapping[str, Any], definition: Definition) -> dict[str, Range]:
    """The space of a configuration, by the study's `named` fields (none: all that have a range)."""
    declared = dict(ranges(config))
    own = config.flat()
    if not named:
        return {key: each for key, each in declared.items() if each.drawn(own.get(key)) is not None}
    found = {}
    for key, given in named.items():
        found[key] = _narrowed(key, given, declared, definition)
        for end in _ends(found[key]):
            definition.config({key: end}, f"study.space.{key}")
        value = own.get(f"{slot_name(key)}.name" if slot_name(key) in SLOTS else key)
        if found[key].drawn(value) is None:
            raise InputError(
                f"{definition.where}: study.space.{key}: {found[key].text} excludes the published "
                f"value {value!r}, which runs first; widen it, or set {key} within it"
            )
    return found


def ranges(config: Config) -> Iterator[tuple[str, Range]]:
    """Every field of a configuration that declares a `Search`, dotted."""
    for table, value in config:
        if isinstance(value, BaseModel):
            for name, info in type(value).model_fields.items():
                for search in (*info.metadata, *_inner(info.annotation)):
                    if isinstance(search, Search):
                        whole = int in _types(info.annotation)
                        yield f"{table}.{name}", Range(search.low, search.high, search.log, whole)


def as_drawn(space: Space, settings: Settings) -> dict[str, Any]:
    """Settings as Optuna draws them, as far as the space has them."""
    drawn = {key: space[key].drawn(value) for key, value in settings.items() if key in space}
    return {key: value for key, value in drawn.items() if value is not None}


def _narrowed(key: str, given: Any, declared: Mapping[str, Range], definition: Definition) -> Range:
    where = f"{definition.where}: study.space.{key}"
    if isinstance(given, Mapping) and "choices" in given:
        choices = given["choices"]
        if not isinstance(choices, list) or len(choices) < 2:
            raise InputError(f"{where}: choices must be a list of at least two")
        labels = definition.labelled(key, choices, f"study.space.{key}")
        field_name = f"{key.rpartition('.')[2]}="  # the space's key has it already
        return Range(choices=tuple((k.removeprefix(field_name), v) for k, v in labels.items()))
    if key not in declared:
        raise InputError(
            f"{where}: has no range to search{nearest(key, declared)}; "
            f"or give {{ choices = [...] }}"
        )
    own = declared[key]
    if given is True:
        return own
    if not _are_two_numbers(given):
        raise InputError(f"{where}: give true, [low, high] or {{ choices = [...] }}")
    low, high = given
    if not low < high:
        raise InputError(f"{where} = {given}: low must be below high")
    if low < own.low or high > own.high:
        raise InputError(f"{where}: [{low:g}, {high:g}] is wider than the field's own range, "
                         f"{own.text}; a study may only narrow it")  # fmt: skip
    return Range(low, high, own.log, own.whole)


def _are_two_numbers(given: Any) -> bool:
    if not (isinstance(given, list) and len(given) == 2):
        return False
    return all(isinstance(each, int | float) and not isinstance(each, bool) for each in given)


def _ends(found: Range) -> Sequence[Any]:
    if found.choices:
        return [value for _, value in found.choices]
    return [int(found.low), int(found.high)] if found.whole else [found.low, found.high]


def _inner(annotation: Any) -> list[Any]:
    """Metadata inside a union, as in `Annotated[float, Search(...)] | None`."""
    found = list(getattr(annotation, "__metadata__", ()))
    return found + [each for part in get_args(annotation) for each in _inner(part)]


def _types(annotation: Any) -> set[Any]:
    parts = get_args(annotation)
    return {annotation} if not parts else {each for part in parts for each in _types(part)}
