"""Sentences for people: a table to compare across steps and runs, a page, and a plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from core.tracking.protocol import Sample

COLUMNS = ("key", "text", "step", "row")
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Sentences</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem; color: #1c2530; }
table { border-collapse: collapse; }
th, td { padding: .45rem .8rem; text-align: left; vertical-align: top; max-width: 26rem;
         border-bottom: 1px solid #dfe4ea; overflow-wrap: anywhere; }
thead th { position: sticky; top: 0; background: #f3f6f9; white-space: nowrap; }
tbody th, i { color: #6a7786; font-weight: 500; }
p { color: #6a7786; max-width: 46rem; }
</style>
<p>Each row is one fixed latent, followed through training: what the same noise comes to.</p>
<table><thead><tr><th>latent</th>
{%- for step in steps %}<th>step {{ step }}</th>{% endfor %}</tr></thead>
<tbody>
{%- for row, texts in rows %}
<tr><th>#{{ row }}</th>{% for text in texts %}<td>{{ text or empty }}</td>{% endfor %}</tr>
{%- endfor %}
</tbody></table></html>
"""


EMPTY = Markup("<i>no words</i>")  # a sentence that ends before it begins


def as_table(samples: Sequence[Sample]) -> dict[str, Any]:
    """The table artifact: columns key, text, step, row; the key is unique; newest step first."""
    newest_first = sorted(samples, key=lambda s: (-s.step, s.row))
    return {
        "columns": list(COLUMNS),
        "data": [[s.key, s.text, s.step, s.row] for s in newest_first],
    }


def as_page(samples: Sequence[Sample]) -> str:
    """One page, steps side by side, newest first; every sentence escaped."""
    steps = sorted({s.step for s in samples}, reverse=True)
    texts = {(s.step, s.row): s.text for s in samples}
    rows = [
        (row, [texts.get((step, row), "") for step in steps])
        for row in sorted({s.row for s in samples})
    ]
    environment = Environment(autoescape=True)
    return environment.from_string(PAGE).render(steps=steps, rows=rows, empty=EMPTY)


def as_text(samples: Sequence[Sample]) -> str:
    """The same for a pager."""
    blocks = []
    for step in sorted({s.step for s in samples}, reverse=True):
        lines = [f"  {s.row:2d}  {s.text}" for s in samples if s.step == step]
        blocks.append("\n".join([f"step {step}", *lines]))
    return "\n\n".join(blocks) + "\n"
