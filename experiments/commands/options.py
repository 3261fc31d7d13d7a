"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from core.numbers import LARGEST_INTEGER, fault_of

Set = Annotated[
    list[str] | None,
    Option("--set", metavar="KEY=VALUE", help="Override a setting; may be repeated."),
]
Json = Annotated[bool, Option("--json", help="Print one JSON document.")]
Seed = Annotated[int, Option(help="Seed of the samples.", min=0, max=LARGEST_INTEGER)]
At = Annotated[
    str | None, Option(metavar="CHECKPOINT", help="A kept checkpoint: best or an update.")
]
Storage = Annotated[
    str | None,
    Option(
        metavar="URL",
        envvar="TEXTGAN_STORAGE",
        help="Optuna's storage: postgresql://..., grpc://HOST:PORT or journal:///SHARED/FILE; "
        "default: a local file.",
    ),
]
Tracking = Annotated[
    str | None,
    Option(
        metavar="URL",
        help="Tracking server, such as http://HOST:5000; default: MLFLOW_TRACKING_URI.",
    ),
]


def parts(values: Sequence[str] | None) -> list[str]:
    """The values of an option that takes them with commas, and may be repeated."""
    return [part.strip() for value in values or () for part in value.split(",")]


def finite(value: float | None) -> float | None:
    """Callback of options with a number, for which a range lets NaN through."""
    if value is not None and (fault := fault_of(value)):
        raise typer.BadParameter(f"{value}: {fault}")
    return value


def complete_system(incomplete: str) -> list[str]:
    """Shell completion: the included systems, and matching TOML files."""
    from experiments.loading import systems

    files = (str(file) for file in Path().glob(f"{incomplete}*") if file.suffix == ".toml")
    folders = (f"{file}/" for file in Path().glob(f"{incomplete}*") if file.is_dir())
    return [*(name for name in systems() if name.startswith(incomplete)), *files, *folders]


def complete_slot(incomplete: str) -> list[str]:
    """Shell completion: slots, and the system slot."""
    from core.config.slots import FOLDERS

    return [slot for slot in (*FOLDERS, "check", "new") if slot.startswith(incomplete)]


def complete_recipe(incomplete: str) -> list[str]:
    """Shell completion: corpora that can be fetched."""
    from core.text.recipes import RECIPES

    return [name for name in RECIPES if name.startswith(incomplete)]


def examples(*lines: str) -> str:
    """The epilog of a help page."""
    return "Examples:\n\n" + "\n\n".join(f"    {line}" for line in lines)
