"""Which numbers are accepted: finite ones, within the range of float32 or 64-bit integers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

SMALLEST, LARGEST = 1.2e-38, 3.4e38  # of float32, apart from 0
LARGEST_INTEGER = 2**63 - 1
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0  # temperatures at which samples are drawn


def fault_of(value: Any) -> str | None:
    """What is wrong with a number, or with one inside a list or table; None if nothing is."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return next((fault for each in value if (fault := fault_of(each))), None)
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        return "must be an integer of at most 64 bits"
    if isinstance(value, float) and value and not SMALLEST <= abs(value) <= LARGEST:
        finite = math.isfinite(value)
        return f"must be a {'float32 number, 1.2e-38 to 3.4e38' if finite else 'finite number'}"
    return None


def representable(value: Any) -> Any:
    """The value of a setting; ValueError, as pydantic's validators raise, if it has a fault."""
    if fault := fault_of(value):
        raise ValueError(fault)
    return value


def is_temperature(value: float) -> bool:
    """Whether samples can be drawn at a temperature."""
    return MIN_TEMPERATURE <= value <= MAX_TEMPERATURE
