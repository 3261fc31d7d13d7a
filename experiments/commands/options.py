"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; may be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
At = Annotated[
    str | None,
    typer.Option(metavar="CHECKPOINT", help="One that a run kept: best, or an update."),
]
Storage = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar="TEXTGAN_STORAGE",
        help="Optuna's storage: postgresql://..., grpc://HOST:PORT; default: beside the record.",
    ),
]
Tracking = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="The record, such as http://HOST:5000; default: MLFLOW_TRACKING_URI."
    ),
]


def complete_system(incomplete: str) -> list[str]:
    """For the shell: systems that come with the harness, and TOML files as far as typed."""
    from experiments.single_run.loading import systems

    files = (str(file) for file in Path().glob(f"{incomplete}*") if file.suffix == ".toml")
    folders = (f"{file}/" for file in Path().glob(f"{incomplete}*") if file.is_dir())
    return [*(name for name in systems() if name.startswith(incomplete)), *files, *folders]


def complete_slot(incomplete: str) -> list[str]:
    """For the shell: slots, and whole systems."""
    from core.config import FOLDERS

    return [slot for slot in (*FOLDERS, "check") if slot.startswith(incomplete)]


def complete_recipe(incomplete: str) -> list[str]:
    """For the shell: corpora that can be fetched."""
    from core.text.recipes import RECIPES

    return [name for name in RECIPES if name.startswith(incomplete)]


def examples(*lines: str) -> str:
    """The epilog of a help page."""
    return "Examples:\n\n" + "\n\n".join(f"    {line}" for line in lines)
