"""Text of others inside Markdown of ours: shown as it is, never taken for markup."""

from __future__ import annotations

import re

MARKUP = re.compile(r"([\\`*_\[\]|~&<>])")
SAME = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}  # HTML that Markdown would let through


def code(text: str) -> str:
    """One line in a code span; what would end the span becomes another sign."""
    return f"`{' '.join(text.split()).replace('`', chr(39))}`"


def plain(text: str) -> str:
    """One line that Markdown shows as `text`."""
    line = " ".join(text.split())
    return MARKUP.sub(lambda found: SAME.get(found[1], "\\" + found[1]), line)
