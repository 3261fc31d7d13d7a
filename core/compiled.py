"""Functions that numba compiles once for all processes to come.

numba keeps what it has compiled in a file, and asks the function's own source whether that is still
true. Ours are made of pieces from other files, so here all sources of its folder are asked. Of
processes that need a function at the same time, one compiles and the others wait for its file.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, cast

from filelock import FileLock
from numba import njit
from numba.core.caching import FunctionCache

LOCK_SECONDS = 300  # after which a process compiles for itself


class _Cache(FunctionCache):  # type: ignore[misc]
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        file = self._cache_file
        file._source_stamp = (file._source_stamp, _sources(Path(inspect.getfile(function)).parent))

    def load_overload(self, *given: Any) -> Any:
        """From the file, or None: then this process compiles, and has the lock until it saves."""
        found = super().load_overload(*given)
        if found is None:
            # Made here: a process may not acquire a lock that was made before it was forked.
            self._lock = FileLock(f"{self._cache_file._index_path}.lock", timeout=LOCK_SECONDS)
            with suppress(OSError, NotImplementedError):  # no folder, no locks, or too long
                self._lock.acquire()
            found = super().load_overload(*given)
            if found is not None:
                self._lock.release()
        return found

    def save_overload(self, *given: Any) -> None:
        """Keep what this process has compiled."""
        try:
            super().save_overload(*given)
        finally:
            self._lock.release()


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
