"""What other packages register under an entry-point group of the harness, by name."""

from __future__ import annotations

import re
from collections.abc import Container
from importlib.metadata import EntryPoint, entry_points

from core.errors import InputError


def installed(group: str, what: str, taken: Container[str]) -> dict[str, EntryPoint]:
    """The entry points of a group by name; InputError for a name that is none, that is `taken` or
    that two packages have. Messages call them a `what`.
    """
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        name, where = point.name, origin(point)
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise InputError(f"{where}: {name!r} is no {what}'s name; use a-z, 0-9 and _")
        if name in taken or name in found:
            raise InputError(f"{where}: there is a {what} {name!r} already; rename it")
        found[name] = point
    return found


def origin(point: EntryPoint) -> str:
    """The package of an entry point, for messages."""
    return f"plug-in {point.dist.name if point.dist else point.value}"
