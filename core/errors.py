"""Errors that a person reads: one or two lines that say what, where, and what would be right.

Anything else that escapes to the command line is a defect of ours.
"""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable, Sequence

# What an operating system says of a disk or a store that cannot be written.
DISK = {
    errno.ENOSPC: "no space left on the disk; free some space, then continue with --resume",
    errno.EDQUOT: "the disk quota is used up; free some space, then continue with --resume",
    errno.EFBIG: "a file may not grow any further here (see ulimit -f)",
    errno.EROFS: "cannot be written, the file system is read-only",
    errno.EACCES: "cannot be written, permission denied",
    errno.EPERM: "cannot be written, permission denied",
    errno.EIO: "the disk does not answer (input/output error)",
    errno.EMFILE: "too many open files (see ulimit -n)",
}
# What SQLite says, through whatever stands between.
STORE = {
    "disk is full": DISK[errno.ENOSPC],
    "attempt to write a readonly database": DISK[errno.EROFS],
    "disk I/O error": DISK[errno.EIO],
}
MOST_LISTED = 10  # names in a message
MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "Unable to allocate")


class TextganError(Exception):
    """Base of every error that is shown as a sentence; `exit_status` is the command's."""

    exit_status = 1


class InputError(TextganError):
    """What was handed in is wrong: a file, a line, a key, a combination. Exit status 2."""

    exit_status = 2


class DeletedError(InputError):
    """A run or its experiment was deleted in the store. What is written to it waits on disk."""


class MachineError(TextganError):
    """The input was right and the machine could not: disk full, store unwritable. Exit status 1."""

    exit_status = 1


def machine_error(error: BaseException, batch_size: int | None = None) -> MachineError | None:
    """An error of the machine's in words, whoever raised it; None where it is not one."""
    if isinstance(error, MachineError):
        return error
    text = str(error)
    if isinstance(error, OSError) and error.errno in DISK:
        return MachineError(f"{error.filename or 'the disk'}: {DISK[error.errno]}")
    for said, words in STORE.items():
        if said in text:
            store = os.environ.get("MLFLOW_TRACKING_URI") or "mlruns/mlflow.db"
            return MachineError(f"{store}: {words}")
    if isinstance(error, MemoryError) or any(said in text for said in MEMORY):
        where = "the GPU" if "CUDA" in text or "HIP" in text else "this machine"
        now = f" (now {batch_size})" if batch_size else ""
        return MachineError(
            f"{where} is out of memory; lower train.batch_size{now}, set train.micro_batch to a "
            f"part of it, or lower evaluation.sentences"
        )
    if isinstance(error, RuntimeError) and text.startswith("CUDA error"):
        return MachineError(f"the GPU failed: {text.splitlines()[0]}")
    return None


def first_line(error: BaseException) -> str:
    """The first line of an error's message, at most 200 characters, or its type's name."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?` for the closest of the known words, or a list of them."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {listed(known)}"


def listed(names: Sequence[str], empty: str = "none yet") -> str:
    """The names for a message: all of them, or the first ten and the number of the others."""
    more = len(names) - MOST_LISTED
    shown = ", ".join(names[:MOST_LISTED]) or empty
    return f"{shown} and {more} more" if more > 0 else shown
