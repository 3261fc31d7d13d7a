"""What a search varies: the `Search` ranges that stand beside a configuration's fields.

None is written twice: a study names fields, and may narrow a range or list choices; it cannot widen
one. Without names every field that has a range is searched, except one whose own value lies
outside of it (such as an average that is switched off): naming such a field is refused in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import BaseModel

from core.config import SLOTS, Config, Resolver, Search, Tables, parse, slot_name
from core.errors import InputError, nearest
from studies.cells import changed, labelled

Settings = Mapping[str, Any]
Space = Mapping[str, "Range"]


@dataclass(frozen=True)
class Range:
    """Where one field is drawn from."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False  # whole numbers only
    choices: tuple[tuple[str, Any], ...] = ()  # label and value, instead of an interval

    def distribution(self) -> BaseDistribution:
        """As Optuna has it."""
        if self.choices:
            return CategoricalDistribution([label for label, _ in self.choices])
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def value(self, drawn: Any) -> Any:
        """What Optuna drew, as the configuration takes it."""
        return dict(self.choices)[drawn] if self.choices else drawn

    def drawn(self, value: Any) -> Any:
        """The other way; None where the range does not have the value."""
        if self.choices:
            return next((label for label, each in self.choices if value in (each, label)), None)
        inside = isinstance(value, int | float) and self.low <= value <= self.high
        return value if inside else None

    def words(self) -> str:
        """For people."""
        if self.choices:
            return ", ".join(label for label, _ in self.choices)
        return f"{self.low:g} to {self.high:g}{' (log)' if self.log else ''}"


def space_of(
    config: Config, tables: Tables, named: Mapping[str, Any], resolver: Resolver, where: str
) -> dict[str, Range]:
    """The space of a configuration, by the study's `named` fields (none: all that have a range)."""
    declared = dict(ranges(config))
    own = config.flat()
    if not named:
        return {key: each for key, each in declared.items() if each.drawn(own.get(key)) is not None}
    found = {}
    for key, given in named.items():
        found[key] = _narrowed(key, given, declared, f"{where}: study.space.{key}")
        for end in _ends(found[key]):
            parse(changed(tables, {key: end}, where), resolver, f"{where}: study.space.{key}")
        value = own.get(f"{slot_name(key)}.name" if slot_name(key) in SLOTS else key)
        if found[key].drawn(value) is None:
            raise InputError(
                f"{where}: study.space.{key}: {found[key].words()} leaves out the published value "
                f"{value!r}, which is to run first; widen it, or set {key} within it"
            )
    return found


def ranges(config: Config) -> Iterator[tuple[str, Range]]:
    """Every field of a configuration that has a `Search` beside it, dotted."""
    for table, value in config:
        if isinstance(value, BaseModel):
            for name, field in type(value).model_fields.items():
                search = _search(field.metadata) or _search(_inner(field.annotation))
                if search is not None:
                    whole = int in _types(field.annotation)
                    yield f"{table}.{name}", Range(search.low, search.high, search.log, whole)


def suggest(trial: optuna.Trial, space: Space) -> dict[str, Any]:
    """Draw every field of a space."""
    found = {}
    for key, each in space.items():
        if each.choices:
            drawn: Any = trial.suggest_categorical(key, [label for label, _ in each.choices])
        elif each.whole:
            drawn = trial.suggest_int(key, int(each.low), int(each.high), log=each.log)
        else:
            drawn = trial.suggest_float(key, each.low, each.high, log=each.log)
        found[key] = each.value(drawn)
    return found


def as_drawn(space: Space, settings: Settings) -> dict[str, Any]:
    """Settings as Optuna knows them, those that the space has."""
    drawn = {key: space[key].drawn(value) for key, value in settings.items() if key in space}
    return {key: value for key, value in drawn.items() if value is not None}


def _narrowed(key: str, given: Any, declared: Mapping[str, Range], where: str) -> Range:
    if isinstance(given, Mapping) and "choices" in given:
        choices = given["choices"]
        if not isinstance(choices, list) or len(choices) < 2:
            raise InputError(f"{where}: choices must be a list of at least two")
        return Range(choices=tuple(labelled(key, choices, where).items()))
    if key not in declared:
        raise InputError(
            f"{where}: has no range to search{nearest(key, declared)}; "
            f"or give {{ choices = [...] }}"
        )
    own = declared[key]
    if given is True:
        return own
    if not _is_interval(given):
        raise InputError(f"{where}: give true, [low, high] or {{ choices = [...] }}")
    low, high = given
    if low < own.low or high > own.high:
        raise InputError(f"{where}: [{low:g}, {high:g}] is wider than the field's own range, "
                         f"{own.words()}; a study may only narrow it")  # fmt: skip
    return Range(low, high, own.log, own.whole)


def _is_interval(given: Any) -> bool:
    if not (isinstance(given, list) and len(given) == 2):
        return False
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in given)
    return numbers and given[0] < given[1]


def _ends(found: Range) -> Sequence[Any]:
    if found.choices:
        return [value for _, value in found.choices]
    return [int(found.low), int(found.high)] if found.whole else [found.low, found.high]


def _search(metadata: Sequence[Any]) -> Search | None:
    return next((each for each in metadata if isinstance(each, Search)), None)


def _inner(annotation: Any) -> list[Any]:
    """Metadata inside a union, as in `Annotated[float, Search(...)] | None`."""
    found = list(getattr(annotation, "__metadata__", ()))
    return found + [each for part in get_args(annotation) for each in _inner(part)]


def _types(annotation: Any) -> set[Any]:
    parts = get_args(annotation)
    return {annotation} if not parts else {each for part in parts for each in _types(part)}
