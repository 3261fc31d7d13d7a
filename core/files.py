"""Files from untrusted sources: a limit on how much is read."""

from __future__ import annotations

import os
from pathlib import Path

from core.errors import InputError, MachineError


def read_bounded(path: Path, max_bytes: int) -> str:
    """The text of a UTF-8 file of at most `max_bytes` bytes; InputError for any other."""
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read ({reason})") from None
    if len(content) > max_bytes:
        raise InputError(f"{path}: more than {max_bytes:,} bytes, too large for such a file")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error})") from None


def check_fits_in_memory(path: Path) -> None:
    """MachineError for a file that is to be read whole and is larger than the memory.

    A sparse file of a few bytes on disk can claim a size of a terabyte.
    """
    size, memory = path.stat().st_size, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise MachineError(
            f"{path}: {size / 1e9:,.1f} GB, and this machine has {memory / 1e9:,.1f} GB of memory"
        )
