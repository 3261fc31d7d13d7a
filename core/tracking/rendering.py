"""Text for people: samples as a table, a page and plain text; others' text inside Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

EMPTY = Markup("<i>no words</i>")  # the first token is the end token
MARKUP = re.compile(r"([\\`*_\[\]|~&<>])")
# The evaluations in the table, and their shares of the updates; the first that applies is the name.
EVALUATIONS = {"last": 1.0, "first": 0.0, "50%": 0.5, "25%": 0.25, "75%": 0.75}
FARTHEST = 0.125  # an evaluation may be from its share
ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}  # HTML that Markdown would pass through


@dataclass(frozen=True)
class Sample:
    """One sentence: row `row` of the fixed latents, after `step` updates."""

    step: int
    row: int
    text: str


def sample_files(samples: Sequence[Sample]) -> dict[str, str]:
    """Path and text of the three artifacts that show a run's samples."""
    return {
        "samples.json": json.dumps(as_table(samples)),
        "samples.html": as_page(samples),
        "samples.txt": as_text(samples),
    }


def as_table(samples: Sequence[Sample]) -> dict[str, Any]:
    """The table artifact: columns key, text, step, row; the key is unique; newest step first.

    The key groups rows across runs, which end at different updates. So it names the evaluation by
    its share of the run (first, 25%, 50%, 75%, last), and the text begins with the update.
    """
    names = _names({s.step for s in samples})
    newest_first = sorted(samples, key=lambda s: (-s.step, s.row))
    return {
        "columns": ["key", "text", "step", "row"],
        "data": [
            [f"{names[s.step]} · #{s.row:02d}", at_update(s.step) + s.text, s.step, s.row]
            for s in newest_first
            if s.step in names
        ],
    }


def at_update(step: int) -> str:
    """How a text of the table begins."""
    return f"update {step}: "


def _names(steps: Set[int]) -> dict[int, str]:
    """The names of those evaluations that the table shows."""
    first, length = min(steps, default=0), max(steps, default=0) - min(steps, default=0)
    found: dict[int, str] = {}
    for name, share in EVALUATIONS.items() if steps else ():
        place = first + share * length
        distance, step = min((abs(each - place), each) for each in steps)
        if distance <= FARTHEST * length:
            found.setdefault(step, name)
    return found


def as_page(samples: Sequence[Sample]) -> str:
    """One HTML page, steps side by side, newest first; every sentence is escaped."""
    steps = sorted({s.step for s in samples}, reverse=True)
    texts = {(s.step, s.row): s.text for s in samples}
    rows = [
        (row, [texts.get((step, row), "") for step in steps])
        for row in sorted({s.row for s in samples})
    ]
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    return environment.get_template("samples.html").render(steps=steps, rows=rows, empty=EMPTY)


def as_text(samples: Sequence[Sample]) -> str:
    """Plain text, newest step first."""
    blocks = []
    for step in sorted({s.step for s in samples}, reverse=True):
        lines = [f"  {s.row:2d}  {s.text}" for s in samples if s.step == step]
        blocks.append("\n".join([f"step {step}", *lines]))
    return "\n\n".join(blocks) + "\n"


def code(text: str) -> str:
    """`text` as one line of Markdown code; a backtick in it becomes an apostrophe."""
    return f"`{' '.join(text.split()).replace('`', chr(39))}`"


def plain(text: str) -> str:
    """One line that Markdown shows as `text`, without any markup."""
    line = " ".join(text.split())
    return MARKUP.sub(lambda found: ENTITIES.get(found[1], "\\" + found[1]), line)
