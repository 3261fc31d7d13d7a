"""Nested tables, as TOML has them, before anything knows what they mean."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.renamed import KEYS, current_value, warn_renamed
from core.slots import FOLDERS
from core.text.bounded import read_bounded

Tables = Mapping[str, Any]
LONGEST_CONFIG = 4_000_000  # bytes


def flatten(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables to dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


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
