"""The kinds of study: one file each, the file name is the kind's name."""

from __future__ import annotations

import importlib
from pathlib import Path

from core.errors import InputError, nearest
from studies.plan import Kind


def kinds() -> list[str]:
    """Names of all kinds, sorted."""
    return sorted(file.stem for file in Path(__file__).parent.glob("*.py") if file.stem[0] != "_")


def find_kind(name: object) -> type[Kind]:
    """The class of a kind; InputError with the nearest name when there is none."""
    if not isinstance(name, str) or name not in kinds():
        raise InputError(f"no kind {name!r}{nearest(str(name), kinds())}")
    module = importlib.import_module(f"{__name__}.{name}")
    found: type[Kind] = getattr(module, name.title().replace("_", ""))
    return found
