"""Errors that a person reads: one or two lines that say what, where, and what would be right.

Anything else that escapes to the command line is a defect of ours.
"""

from __future__ import annotations


class TextganError(Exception):
    """Base of every error that is shown as a sentence; `exit_status` is the command's."""

    exit_status = 1


class InputError(TextganError):
    """What was handed in is wrong: a file, a line, a key, a combination. Exit status 2."""

    exit_status = 2


class MachineError(TextganError):
    """The input was right and the machine could not: disk full, store unwritable. Exit status 1."""

    exit_status = 1
