"""A reader of subtitles (SubRip, `.srt`): one sentence for each cue.

A cue is a number, a line with two times, and lines of text, followed by a blank line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core.errors import InputError
from core.text.readers import lines
from core.text.settings import CorpusSettings

ARROW = " --> "  # between the two times


def read(path: Path, settings: CorpusSettings) -> Iterator[str]:
    """The text of each cue; InputError where the second line of a cue has no times."""
    cue: list[str] = []
    for number, line in lines(path):
        if not line.strip():
            yield " ".join(cue[2:])
            cue = []
            continue
        cue.append(line.strip())
        if len(cue) == 2 and ARROW not in line:
            raise InputError(f"{path}:{number}: no times of a subtitle, such as 0:01{ARROW}0:02")
    yield " ".join(cue[2:])
