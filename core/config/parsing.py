"""TOML and `--set` overrides to nested tables, and nested tables to a checked `Config`: every fault
is an `InputError` that names the key.

The slots hold the typed configuration of whichever strategy their `name` picks, which the
*resolver* (the registry of `variants/`, handed in, so that core never names a variant) supplies.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from core.config import slots
from core.config.renamed import KEYS, current_tables, current_value, warn_renamed
from core.config.schema import Config, StrategyConfig
from core.config.slots import Resolver
from core.errors import InputError, nearest
from core.faults import LENGTHS, in_toml, must
from core.files import read_bounded

M = TypeVar("M", bound=BaseModel)
Tables = Mapping[str, Any]
LONGEST_CONFIG = 4_000_000  # bytes
EXTENDS = "extends"  # the key of a file whose tables this one is on top of


def read_toml(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A TOML file as nested tables, on top of those of the file that its key `extends` names,
    relative to it; `above` are the files that extend this one, the first of them first.

    InputError with file and line if it is not TOML, with the chain of files if one of them is
    missing or extends itself.
    """
    chain = " -> ".join(map(str, (*above, path)))
    if path.resolve() in [each.resolve() for each in above]:
        raise InputError(f"{chain}: a file cannot extend itself")
    if above and not path.is_file():
        raise InputError(f"{chain}: no such file; `extends` is relative to the file that has it")
    text = read_bounded(path, LONGEST_CONFIG)
    try:
        tables = tomllib.loads(text)
    except ValueError as error:  # also an integer of thousands of digits
        raise InputError(f"{chain}: not valid TOML: {error}") from None
    except RecursionError:
        raise InputError(f"{chain}: not valid TOML: nested too deep") from None
    if EXTENDS not in tables:
        return tables
    base = tables.pop(EXTENDS)
    if not isinstance(base, str):
        raise InputError(f"{chain}: {EXTENDS} = {in_toml(base)}: must be the name of a TOML file")
    below = read_toml(path.parent / base, (*above, path))
    return merge(current_tables(below, str(path.parent / base)), current_tables(tables, str(path)))


def merge(below: Tables, above: Tables) -> dict[str, Any]:
    """Nested tables on top of others: tables are merged, all else is replaced. Another `name` in a
    slot's table starts it anew, as in `override`.
    """
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            was, name = old.get("name"), value.get("name")
            anew = key in slots.FOLDERS and None not in (was, name) and was != name
            value = value if anew else merge(old, value)
        merged[key] = value
    return merged


def parse_override(text: str) -> tuple[list[str], Any]:
    """`a.b=value` to its path and value; the value is TOML, or else a plain string."""
    key, equals, value = text.partition("=")
    path = [part.strip() for part in key.split(".")]
    if not equals or not all(path):
        raise InputError(f"--set {text}: expected KEY=VALUE, such as train.updates=100")
    try:
        return path, tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        return path, value.strip()


def override(tables: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of `tables` with each `a.b=value` set.

    Another `name` in a slot's table starts that table anew: the settings of one strategy mean
    nothing to another.
    """
    result = {
        slots.slot_name(k): dict(v) if isinstance(v, Mapping) else v for k, v in tables.items()
    }
    for text in overrides:
        (table, *rest), value = _current(*parse_override(text))
        assign(result, [slots.slot_name(table), *rest], value, f"--set {text}")
    return result


@contextmanager
def blame(where: str, overrides: Iterable[str]) -> Iterator[None]:
    """If an InputError is raised inside, its lines about keys that overrides have set name the
    overrides, not the file `where`.
    """
    try:
        yield
    except InputError as error:
        keys = {text.partition("=")[0].strip(): text for text in overrides}
        lines = []
        for line in str(error).splitlines():
            said = line.removeprefix(f"{where}: ")
            found = [f"--set {text}" for key, text in keys.items() if _is_about(said, key)]
            lines.append(f"{', '.join(found)}: {said}" if found and said != line else line)
        raise InputError("\n".join(lines)) from None


def _is_about(said: str, key: str) -> bool:
    """Whether a sentence of an error is about a key: it begins with the key or with an unknown
    table that the key is in, or it names the key, or the key's table and the key's last part.

    By the words, because only they are in every error: what does not fit together is refused after
    pydantic, and pydantic's place of a fault between the keys of a table is the table.
    """
    table, _, last = key.rpartition(".")
    unknown, _, rest = said.partition(": ")
    if re.match(rf"\[?{re.escape(key)}\b", said):
        return True
    if not table:
        return key in slots.FOLDERS and re.search(rf"(?<![\w.]){key}\.name\b", said) is not None
    return (
        re.search(rf"(?<![\w.]){re.escape(key)}(?![\w.])", said) is not None
        or (rest.startswith("unknown key") and key.startswith(f"{unknown}."))
        or (
            said.startswith(f"[{table}]") and re.search(rf"\b{re.escape(last)}\b", said) is not None
        )
    )


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
            known = ".".join(path[: depth + 1])
            raise InputError(
                f"{where}: {known} is not a table, so it has no key {path[depth + 1]!r}"
            )
        place[part] = dict(inner)
        place = place[part]
    if path[-1] == "name" and place.get("name") not in (None, value) and path[0] in slots.FOLDERS:
        place.clear()
    place[path[-1]] = value


def parse(tables: Mapping[str, Any], resolver: Resolver, where: str = "config") -> Config:
    """Nested tables to a checked `Config`; every fault is an InputError that names the key."""
    values = {slots.slot_name(key): value for key, value in current_tables(tables).items()}
    for slot in slots.FOLDERS:
        if slot in values:
            values[slot] = _parse_slot(slot, values[slot], resolver, where)
    config = checked(Config, values, where)
    _check_selection(config, where)
    if config.system is not None:
        _check_whole(config, where)
        return config
    for slot in slots.NEEDED:
        if getattr(config, slot) is None:
            raise InputError(f"{where}: [{slot}] is missing")
    check_compatible(config, resolver, where)
    return config


def _check_selection(config: Config, where: str) -> None:
    """What stopping and the selected checkpoints need of other settings."""
    stop, updates, every = config.train.stop, config.train.updates, config.evaluation.every
    faults = {
        "selection 'early_stop' needs train.stop, such as { metric = 'eval/fed', "
        "patience = 5 }": "early_stop" in config.rules and stop is None,
        "selection 'best' needs evaluation.keep_best, such as 'eval/fed'": (
            "best" in config.rules and config.evaluation.keep_best is None
        ),
        f"train.stop needs evaluations before the end: evaluation.every = {every} must be below "
        f"train.updates = {updates}": stop and updates is not None and every >= updates,
    }
    for fault, present in faults.items():
        if present:
            raise InputError(f"{where}: {fault}")


def _check_whole(config: Config, where: str) -> None:
    """A whole system has no slots, and none of the settings that change their game."""
    assert config.system is not None
    is_whole = f"system.name = {config.system.name!r} is a whole system"
    for slot in slots.SLOTS:
        if getattr(config, slot) is not None:
            raise InputError(f"{where}: {is_whole}, so [{slot}] has no meaning; remove it")
    for key in slots.GAME_SETTINGS:
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
    return checked(model, table, where, prefix=f"{slot}.")


def checked(model: type[M], values: Tables, where: str, prefix: str = "") -> M:
    """A table of these values; InputError for the first two faults, as `explain` says them."""
    try:
        return model(**values)
    except ValidationError as error:
        raise InputError(explain(error, model, where, prefix)) from None


def explain(error: ValidationError, model: type[BaseModel], where: str, prefix: str = "") -> str:
    """The first two faults of a validation as sentences that name the key."""
    by_key: dict[str, list[Mapping[str, Any]]] = {}
    for fault in error.errors():
        key = prefix + ".".join(_key_of(fault["loc"], model))
        by_key.setdefault(key, []).append(fault)
    # Of a key that may hold a table or something else, the faults inside the table.
    inner = [key for key in by_key if not any(each.startswith(f"{key}.") for each in by_key)]
    said = [_sentence(key, by_key[key], model) for key in inner]
    return "\n".join(f"{where}: {sentence}" for sentence in said[:2])


def _sentence(key: str, faults: Sequence[Mapping[str, Any]], model: type[BaseModel]) -> str:
    """What is wrong with a key. If it takes values of several types there is a fault for each; the
    ones furthest inside the value are those of the type that was meant.
    """
    depth = max(len(fault["loc"]) for fault in faults)
    first, *others = [fault for fault in faults if len(fault["loc"]) == depth]
    name = key.rpartition(".")[2]
    if first["type"] == "extra_forbidden":
        table = _key_of(first["loc"], model)[:-1]
        return f"{key}: unknown key{_suggested(name, model, table)}"
    if first["type"] == "missing":
        return f"{key} is missing"
    same = (fault for fault in (first, *others) if fault["input"] is first["input"])
    wanted, *more = dict.fromkeys(map(must, same))
    also = (each.removeprefix("must ").removeprefix("be ") for each in more)
    right = ", or ".join([wanted, *also])
    if not isinstance(first["input"], Mapping):
        return f"{key} = {in_toml(first['input'])}: {right}"
    # What is wrong between the keys of a table is said of the table.
    is_right = first["type"] in ("value_error", *LENGTHS)
    return f"[{key.rstrip('.')}]: {right}{'' if is_right else ', not a table'}"


def _key_of(location: Sequence[str | int], model: type[BaseModel]) -> list[str]:
    """The keys on the way to a fault, without indices of lists and pydantic's names of types."""
    keys: list[str] = []
    table: type[BaseModel] | None = model
    any_key = is_type = False
    for part in location:
        if is_type or not isinstance(part, str) or (table is None and not any_key):
            is_type = False
            continue
        keys.append(part)
        field = _fields(table).get(part) if table is not None else None
        table = next(tables_in(field.annotation), None) if field is not None else None
        any_key = field is not None and get_origin(field.annotation) is dict
        held = field.annotation if field is not None else None
        kinds = [each for each in get_args(held) if each is not NoneType]
        is_type = table is not None and get_origin(held) in (Union, UnionType) and len(kinds) > 1
    return keys


def _keys_at(model: type[BaseModel], path: Iterable[str]) -> list[str]:
    for part in path:
        if part in (fields := _fields(model)):
            model = next(tables_in(fields[part].annotation), model)
    return list(_fields(model))


def _suggested(name: str, model: type[BaseModel], table: Sequence[str]) -> str:
    """The nearest key of the table, else keys elsewhere of which the name is a part."""
    if name == EXTENDS:
        return "; it belongs at the top of a TOML file, before its tables: extends = 'base.toml'"
    known = _keys_at(model, table)
    parts = {path: path.rpartition(".")[2] for path in _paths(model)}
    elsewhere = [path for path, key in parts.items() if name in (key, *key.split("_"))]
    if elsewhere and not difflib.get_close_matches(name, known, n=1):
        return f"; did you mean {' or '.join(elsewhere)}?"
    return nearest(name, known)


def _paths(model: type[BaseModel], start: str = "") -> Iterator[str]:
    """The dotted names of all keys of a table and the tables in it."""
    for key, field in _fields(model).items():
        yield f"{start}{key}"
        for inner in tables_in(field.annotation):
            yield from _paths(inner, f"{start}{key}.")


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a table by the keys that a file has for them."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


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
        for slot in slots.SLOTS
        if getattr(config, slot) is not None
    }
    assert config.schedule is not None  # one of slots.NEEDED
    adversarial = chosen["schedule"].adversarial
    for slot in slots.GAME:
        name = config.schedule.name
        if adversarial and slot not in chosen:
            choices = ", ".join(resolver.names(slot))
            raise InputError(f"{where}: schedule.name = {name!r} needs [{slot}]: one of {choices}")
        if not adversarial and slot in chosen:
            raise InputError(
                f"{where}: schedule.name = {name!r} trains without a discriminator, so [{slot}] "
                f"has no meaning; remove it, or take schedule.name = 'adversarial'"
            )
    found = slots.conflict(chosen)
    if found is not None:
        has = f"[{found.other}]"
        if found.other in chosen:
            has = f"{found.other}.name = {getattr(config, found.other).name!r}"
        raise InputError(
            f"{where}: {found.slot}.name = {getattr(config, found.slot).name!r} needs "
            f"{found.capability.replace('_', ' ')}, which {has} does not offer; valid: "
            f"{slots.in_words(slots.repairs(chosen, found, resolver))}"
        )
    if "estimator" in chosen:
        plan = getattr(chosen["estimator"](config.estimator), "plan", None)
        shortest = config.train.curriculum_start or config.model.length
        fault = plan and plan.fault(config.train, shortest, chosen["objective"].offers)
        if fault:
            raise InputError(f"{where}: {fault}")
    if config.train.replay and "hard_tokens" not in chosen["sampling"].offers:
        raise InputError(
            f"{where}: train.replay = {config.train.replay} needs a sampling that offers hard "
            f"tokens, such as 'categorical'; leave train.replay out"
        )
    if config.train.replay and config.train.curriculum_start is not None:
        raise InputError(
            f"{where}: train.replay and train.curriculum_start do not go together: earlier "
            f"sentences are shorter than the real ones that D compares them with; leave one out"
        )
    if config.train.discriminator_from_generator and not (
        adversarial and "pretraining" in chosen["schedule"].offers
    ):
        raise InputError(
            f"{where}: train.discriminator_from_generator needs a schedule with pretraining, such "
            f"as 'pretrain'; leave it out"
        )
    size = config.train.micro_batch
    for slot in ("estimator", "objective") if size else ():
        if slot in chosen and "mean_over_sentences" not in chosen[slot].offers:
            name = getattr(config, slot).name
            raise InputError(
                f"{where}: train.micro_batch = {size} needs losses that are means over sentences, "
                f"which {slot}.name = {name!r} is not; leave train.micro_batch out"
            )
