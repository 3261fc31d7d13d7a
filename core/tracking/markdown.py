"""Text of others inside Markdown of ours: shown as it is, never taken for markup."""

from __future__ import annotations

import re

MARKUP = re.compile(r"([\\`*_\[\]|~&<>])")
SAME = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}  # HTML that Markdown would let through


def plain(text: str) -> str:
    """One line that Markdown shows as `text`."""
    line = " ".join(text.split())
    return MARKUP.sub(lambda found: SAME.get(found[1], "\\" + found[1]), line)
