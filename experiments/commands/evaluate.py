"""`textgan evaluate`: the metrics on text files from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.commands.options import Json, examples


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        epilog=examples(
            "textgan evaluate samples.txt --references test.txt --train train.txt",
            "textgan evaluate samples.txt --references test.txt --metrics bleu,self_bleu --json",
        )
    )(evaluate)


def evaluate(
    samples: Annotated[Path, typer.Argument(help="One sentence a line, split on white space.")],
    references: Annotated[Path, typer.Option(help="Real sentences to compare with.")],
    held_out: Annotated[
        Path | None, typer.Option(help="Real sentences scored as if generated.")
    ] = None,
    train: Annotated[Path | None, typer.Option(help="Training text, for copies.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Groups, such as bleu,distinct.")] = None,
    json: Json = False,
) -> None:
    """Score a file of sentences against real ones; nothing is cleaned."""
    from core.metrics.files import evaluate_files
    from experiments.console import err, out, print_json, table

    groups = [g.strip() for g in metrics.split(",")] if metrics else None
    document = evaluate_files(samples, references, held_out, train, groups)
    if json:
        print_json(document)
        return
    real = document["baselines"]["real"]
    rows = [
        [name, _number(row["value"]),
         f"{_number(row['low'])} to {_number(row['high'])}" if row["low"] is not None else "",
         _number(real.get(name)), row["direction"]]
        for name, row in document["metrics"].items()
    ]  # fmt: skip
    out.print(table(["metric", "value", "95% interval", "real text", "better"], rows))
    for warning in document["warnings"]:
        err.print(f"note: {warning}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
