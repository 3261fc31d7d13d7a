"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; may be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Storage = Annotated[
    str | None, typer.Option(help="Optuna's storage; default: beside the tracking store.")
]


def examples(*lines: str) -> str:
    """The epilog of a help page."""
    return "Examples:\n\n" + "\n\n".join(f"    {line}" for line in lines)
