"""What is wrong with a value, in our own words: pydantic finds the fault, a person reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, time
from typing import Any

from pydantic import ValidationError

from core.plural import count

WHOLE, NUMBER, SWITCH = "must be a whole number", "must be a number", "must be true or false"
LIST, TABLE, TEXT = "must be a list", "must be a table of settings", "must be text"
MUST = {  # pydantic's name of a fault -> what the value should have been, with its bounds
    "bool_type": SWITCH, "bool_parsing": SWITCH,
    "int_type": WHOLE, "int_parsing": WHOLE, "int_from_float": WHOLE,
    "int_parsing_size": "is too large a number",
    "float_type": NUMBER, "float_parsing": NUMBER, "finite_number": "must be a finite number",
    "string_type": TEXT, "list_type": LIST, "tuple_type": LIST,
    "dict_type": TABLE, "model_type": TABLE, "dataclass_type": TABLE,
    "literal_error": "must be {expected}", "enum": "must be {expected}",
    "greater_than": "must be above {gt}", "greater_than_equal": "must be {ge} or more",
    "less_than": "must be below {lt}", "less_than_equal": "must be {le} or less",
    "multiple_of": "must be a multiple of {multiple_of}",
    "missing": "is missing", "extra_forbidden": "unknown key",
    "json_invalid": "not valid JSON: {error}", "value_error": "{error}",
}  # fmt: skip
LENGTHS = {  # the bound in the fault's context, and what it counts
    "string_too_short": ("min_length", "at least", "character"),
    "string_too_long": ("max_length", "at most", "character"),
    "too_short": ("min_length", "at least", "entry"),
    "too_long": ("max_length", "at most", "entry"),
}
LONGEST_SHOWN = 100  # characters of a value in a message


def must(fault: Mapping[str, Any]) -> str:
    """What one fault of a ValidationError asks for: `must be 2 or more`."""
    kind, bounds = fault["type"], fault.get("ctx", {})
    if kind == "string_type" and isinstance(fault["input"], int | float | date | time):
        return f'{TEXT}; write it in quotes: "{in_toml(fault["input"])}"'
    if kind in LENGTHS:
        bound, how, what = LENGTHS[kind]
        if bounds[bound] == 1 and bound == "min_length":
            return "must not be empty"
        return f"must have {how} {count(bounds[bound], what)}"
    if kind in MUST:
        return MUST[kind].format(**{name: _written(bound) for name, bound in bounds.items()})
    # A plug-in may use any other of pydantic's checks.
    return re.sub(r"^\w+ should ", "must ", fault["msg"]).replace("be a valid", "be a")


def first_fault(error: ValidationError) -> str:
    """The first fault, with the place of the value: `temperature = 'x': must be a number`."""
    fault = error.errors()[0]
    place = ".".join(map(str, fault["loc"]))
    if not place or isinstance(fault["input"], Mapping | list):
        return f"{place}: {must(fault)}".removeprefix(": ")
    return f"{place} = {in_toml(fault['input'])}: {must(fault)}"


def in_toml(value: Any) -> str:
    """A value as TOML has it, cut where it is long."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    if isinstance(value, date | time):
        text = value.isoformat()
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}...{text[-1]}"


def _written(bound: Any) -> str:
    if isinstance(bound, float):
        return f"{bound:g}"
    return f"{bound:,}" if isinstance(bound, int) else str(bound)
