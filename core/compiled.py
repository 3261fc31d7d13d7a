"""Functions that numba compiles once for all processes to come.

numba keeps what it has compiled in a file, and asks the function's own source whether that is still
true. Ours are made of pieces from other files, so here all sources of its folder are asked.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, cast

from numba import njit
from numba.core.caching import FunctionCache


class _Cache(FunctionCache):  # type: ignore[misc]
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        file = self._cache_file
        file._source_stamp = (file._source_stamp, _sources(Path(inspect.getfile(function)).parent))


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call; kept in memory alone where no folder can be written to."""
    dispatcher = njit(function)
    with suppress(RuntimeError):  # no folder
        dispatcher._cache = _Cache(function)
    return cast("Callable[..., Any]", dispatcher)


@cache
def _sources(folder: Path) -> str:
    files = sorted(folder.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
