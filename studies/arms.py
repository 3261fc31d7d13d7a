"""An arm: one system whose settings are searched for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Arm:
    """What a search varies of one system, and how."""

    name: str
    tables: Mapping[str, Any]
    published: Sequence[Mapping[str, Any]] = ()
