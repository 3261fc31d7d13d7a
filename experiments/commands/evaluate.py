"""`textgan evaluate`: the metrics on text files from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.commands.options import Json, examples

if TYPE_CHECKING:
    from core.metrics.files import Evaluation
    from core.text.pcfg import Grammar


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
    train: Annotated[
        Path | None, typer.Option(help="Training text: copies, encoder, baselines.")
    ] = None,
    metrics: Annotated[str | None, typer.Option(help="Groups, such as bleu,distinct.")] = None,
    oracle: Annotated[
        str | None, typer.Option(metavar="grammar:DIFFICULTY", help="The grammar behind the text.")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="As published: texygen, textgan, relgan, scratchgan.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="A model of sentence-transformers; default: built in.")
    ] = None,
    json: Json = False,
) -> None:
    """Score a file of sentences against real ones, with intervals and baselines."""
    from core.metrics.encoders import SentenceTransformer
    from core.metrics.files import Inputs, chosen_groups, chosen_protocol, read_sentences
    from core.metrics.files import evaluate as score
    from experiments.console import print_json, progress

    asked = [g.strip() for g in metrics.split(",")] if metrics else None
    groups = chosen_groups(asked)
    chosen_protocol(protocol, asked)
    inputs = Inputs(
        read_sentences(samples),
        read_sentences(references),
        read_sentences(held_out) if held_out is not None else None,
        read_sentences(train) if train is not None else (),
        grammar=_grammar(oracle),
        encoder=SentenceTransformer(encoder) if encoder is not None else None,
        protocol=protocol,
    )
    with progress("metrics") as advance:
        found = score(inputs, groups, lambda words, done, total: advance(done, total, words))
    if json:
        print_json(found.document())
    else:
        _show(found)


def _grammar(oracle: str | None) -> Grammar | None:
    from core.errors import InputError
    from core.text.grammar import SIZES, grammar

    if oracle is None:
        return None
    source, _, difficulty = oracle.partition(":")
    if source != "grammar" or (difficulty or "default") not in SIZES:
        known = ", ".join(f"grammar:{name}" for name in SIZES)
        raise InputError(f"--oracle {oracle}: no such oracle; there are {known}")
    return grammar(difficulty or "default")


def _show(found: Evaluation) -> None:
    from experiments.console import err, out, table

    baselines = {name: row for name, row in found.baselines.items() if row is not None}
    rows = [
        [name, _number(row["value"]),
         f"{_number(row['low'])} to {_number(row['high'])}" if row["low"] is not None else "",
         *(_number(baseline.get(name)) for baseline in baselines.values()), row["direction"]]
        for name, row in found.metrics.items()
        if row["value"] is not None
    ]  # fmt: skip
    titles = {"real": "real text", "mle": "mle", "ngram": "n-gram"}
    columns = ["metric", "value", "95% interval", *(titles[b] for b in baselines), "better"]
    out.print(table(columns, rows))
    for warning in found.warnings:
        err.print(f"note: {warning}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
