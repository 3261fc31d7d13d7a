"""The command line, as its own help says it."""

from __future__ import annotations

import re

import typer
from typer.cli import get_docs_for_click

from experiments.cli import app

INTRODUCTION = """# Command line

`textgan` is installed into `.venv/bin` by `make setup`; `python -m experiments` is the same. Exit
status: 0 done, 2 bad input, 1 the machine's fault or ours, 130 interrupted. Completion for your
shell: `textgan --install-completion`.
"""


def page() -> str:
    """The page."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="textgan")
    text = get_docs_for_click(obj=command, ctx=context, name="textgan", title="textgan")
    body = text.partition("\n")[2]
    body = re.sub(r"^\* `--help`: .*\n", "", body, flags=re.MULTILINE)
    return INTRODUCTION + body + "\n"
