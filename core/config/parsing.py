"""TOML and `--set` overrides to nested tables, and nested tables to a checked `Config`: every fault
is an `InputError` that names the key.

The slots hold the typed configuration of whichever strategy their `name` picks, which the
*resolver* (the registry of `variants/`, handed in, so that core never names a variant) supplies.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from core.config.renamed import KEYS, current_tables, current_value, warn_renamed
from core.config.schema import Config, StrategyConfig
from core.config.slots import (
    FOLDERS,
    GAME,
    GAME_SETTINGS,
    NEEDED,
    SLOTS,
    Resolver,
    conflict,
    in_words,
    repairs,
    slot_name,
)
from core.errors import InputError, nearest
from core.files import read_bounded

Tables = Mapping[str, Any]
LONGEST_CONFIG = 4_000_000  # bytes


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as nested tables; InputError with file and line when it is not one."""
    text = read_bounded(path, LONGEST_CONFIG)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not valid TOML: {error}") from None
    except RecursionError:
        raise InputError(f"{path}: not valid TOML: nested too deep") from None


def parse_override(text: str) -> tuple[list[str], Any]:
    """`a.b=value` to its path and value; the value is TOML, or else a plain string."""
    key, equals, value = text.partition("=")
    path = [part.strip() for part in key.split(".")]
    if not equals or not all(path):
        raise InputError(f"--set {text}: expected KEY=VALUE, such as train.updates=100")
    try:
        return path, tomllib.loads(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return path, value.strip()


def override(tables: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of `tables` with each `a.b=value` set.

    Another `name` in a slot's table starts that table anew: the settings of one strategy mean
    nothing to another.
    """
    result = {k: dict(v) if isinstance(v, Mapping) else v for k, v in tables.items()}
    for text in overrides:
        path, value = _current(*parse_override(text))
        assign(result, path, value, f"--set {text}")
    return result


def _current(path: list[str], value: Any) -> tuple[list[str], Any]:
    """The same under today's name of the key."""
    key = ".".join(path)
    if key not in KEYS:
        return path, value
    warn_renamed(key, "--set")
    return KEYS[key].split("."), current_value(key, value)


def assign(tables: dict[str, Any], path: Sequence[str], value: Any, where: str) -> None:
    """Set one value in nested tables, in place; see `override`."""
    place = tables
    for depth, part in enumerate(path[:-1]):
        inner = place.setdefault(part, {})
        if not isinstance(inner, Mapping):
            raise InputError(f"{where}: {'.'.join(path[: depth + 1])} is not a table")
        place[part] = dict(inner)
        place = place[part]
    if path[-1] == "name" and place.get("name") not in (None, value) and path[0] in FOLDERS:
        place.clear()
    place[path[-1]] = value


def parse(tables: Mapping[str, Any], resolver: Resolver, where: str = "config") -> Config:
    """Nested tables to a checked `Config`; every fault is an InputError that names the key."""
    values = {slot_name(key): value for key, value in current_tables(tables).items()}
    for slot in FOLDERS:
        if slot in values:
            values[slot] = _parse_slot(slot, values[slot], resolver, where)
    try:
        config = Config(**values)
    except ValidationError as error:
        raise InputError(explain(error, Config, where)) from None
    if config.system is not None:
        _check_whole(config, where)
        return config
    for slot in NEEDED:
        if getattr(config, slot) is None:
            raise InputError(f"{where}: [{slot}] is missing")
    check_compatible(config, resolver, where)
    return config


def _check_whole(config: Config, where: str) -> None:
    """A whole system has no slots, and none of the settings that change their game."""
    assert config.system is not None
    is_whole = f"system.name = {config.system.name!r} is a whole system"
    for slot in SLOTS:
        if getattr(config, slot) is not None:
            raise InputError(f"{where}: {is_whole}, so [{slot}] has no meaning; remove it")
    for key in GAME_SETTINGS:
        if getattr(config.train, key):
            raise InputError(f"{where}: {is_whole}, so train.{key} has no meaning; leave it out")


def _parse_slot(slot: str, table: Any, resolver: Resolver, where: str) -> StrategyConfig:
    if isinstance(table, str):
        table = {"name": table}
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        names = ", ".join(resolver.names(slot))
        raise InputError(f"{where}: [{slot}] needs a name: one of {names}")
    try:
        model: type[StrategyConfig] = resolver.strategy(slot, table["name"]).Config
    except InputError as error:
        raise InputError(f"{where}: {slot}.name: {error}") from None
    try:
        return model(**table)
    except ValidationError as error:
        raise InputError(explain(error, model, where, prefix=f"{slot}.")) from None


def explain(error: ValidationError, model: type[BaseModel], where: str, prefix: str = "") -> str:
    """The first two faults of a validation as sentences that name the key."""
    sentences = []
    for fault in error.errors()[:2]:
        location = [str(part) for part in fault["loc"] if isinstance(part, str)]
        key = prefix + ".".join(location)
        if fault["type"] == "extra_forbidden":
            known = _keys_at(model, location[:-1])
            sentences.append(f"{where}: {key}: unknown key{nearest(location[-1], known)}")
        elif fault["type"] == "missing":
            sentences.append(f"{where}: [{key}] is missing")
        elif fault["type"] == "model_type":
            sentences.append(f"{where}: {key} = {fault['input']!r}: should be a table of settings")
        else:
            message = fault["msg"].removeprefix("Value error, ")
            message = message[0].lower() + message[1:]
            # What is wrong between the keys of a table is said of the table.
            given = isinstance(fault["input"], Mapping)
            said = f"[{key.rstrip('.')}]" if given else f"{key} = {fault['input']!r}"
            sentences.append(f"{where}: {said}: {message}")
    return "\n".join(sentences)


def _keys_at(model: type[BaseModel], path: Iterable[str]) -> list[str]:
    for part in path:
        if part in model.model_fields:
            model = next(tables_in(model.model_fields[part].annotation), model)
    return list(model.model_fields)


def tables_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The tables that a field may hold: itself one, one or none, a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from tables_in(part)


def check_compatible(config: Config, resolver: Resolver, where: str = "config") -> None:
    """Refuse a combination in which some strategy misses what it declares that it needs."""
    chosen = {
        slot: resolver.strategy(slot, getattr(config, slot).name)
        for slot in SLOTS
        if getattr(config, slot) is not None
    }
    assert config.schedule is not None  # one of NEEDED
    adversarial = chosen["schedule"].adversarial
    for slot in GAME:
        name = config.schedule.name
        if adversarial and slot not in chosen:
            choices = ", ".join(resolver.names(slot))
            raise InputError(f"{where}: schedule.name = {name!r} needs [{slot}]: one of {choices}")
        if not adversarial and slot in chosen:
            raise InputError(
                f"{where}: schedule.name = {name!r} trains without a discriminator, so [{slot}] "
                f"has no meaning; remove it, or take schedule.name = 'adversarial'"
            )
    found = conflict(chosen)
    if found is not None:
        has = f"[{found.other}]"
        if found.other in chosen:
            has = f"{found.other}.name = {getattr(config, found.other).name!r}"
        raise InputError(
            f"{where}: {found.slot}.name = {getattr(config, found.slot).name!r} needs "
            f"{found.capability.replace('_', ' ')}, which {has} does not offer; valid: "
            f"{in_words(repairs(chosen, found, resolver))}"
        )
    size = config.train.micro_batch
    for slot in ("estimator", "objective") if size else ():
        if slot in chosen and "mean_over_sentences" not in chosen[slot].offers:
            name = getattr(config, slot).name
            raise InputError(
                f"{where}: train.micro_batch = {size} needs losses that are means over sentences, "
                f"which {slot}.name = {name!r} is not; leave train.micro_batch out"
            )
