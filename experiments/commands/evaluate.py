"""`textgan evaluate`: the metrics on text files from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.commands.options import Json, examples

if TYPE_CHECKING:
    from core.metrics.files import Evaluation
    from core.text.pcfg import Grammar
    from core.tracking.protocol import Tracker
    from experiments.baselines import MleBaseline


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
    html: Annotated[Path | None, typer.Option(help="A page with figures.")] = None,
    log: Annotated[
        str | None, typer.Option(metavar="STUDY", help="Record as a row of a study's leaderboard.")
    ] = None,
    json: Json = False,
) -> None:
    """Score a file of sentences against real ones, with intervals and baselines."""
    from core.metrics.encoders import SentenceTransformer
    from core.metrics.files import Inputs, chosen_groups, chosen_protocol, read_sentences
    from core.metrics.files import evaluate as score
    from experiments.console import err, print_json, progress
    from experiments.evaluation_page import evaluation_page
    from experiments.imported import log_imported

    asked = [g.strip() for g in metrics.split(",")] if metrics else None
    groups = chosen_groups(asked)
    chosen_protocol(protocol, asked)
    tracker = _log_to(log, groups)
    ours = read_sentences(samples)
    training = read_sentences(train) if train is not None else []
    inputs = Inputs(
        ours,
        read_sentences(references),
        read_sentences(held_out) if held_out is not None else None,
        training,
        _mle(training, len(ours)),
        grammar=_grammar(oracle),
        encoder=SentenceTransformer(encoder) if encoder is not None else None,
        protocol=protocol,
    )
    with progress("metrics") as advance:
        found = score(inputs, groups, lambda words, done, total: advance(done, total, words))
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(evaluation_page(samples.name, found, ours), encoding="utf-8")
        err.print(f"written: {html}", markup=False)
    if tracker is not None and log is not None:
        name = log_imported(tracker, log, samples.name, found.metrics, ours)
        err.print(f"recorded in {log} as {name!r}; textgan report {log}", markup=False)
    if json:
        print_json(found.document())
    else:
        _show(found)


def _log_to(study: str | None, groups: list[str]) -> Tracker | None:
    """The store, when the evaluation is to be recorded; checked before anything is measured."""
    from core.metrics.catalogue import CATALOGUE
    from core.tracking.mlflow_store import open_tracker
    from experiments.imported import ranking_metric

    if study is None:
        return None
    tracker = open_tracker()
    ranking_metric(tracker, study, [n for n, info in CATALOGUE.items() if info.group in groups])
    return tracker


def _mle(training: list[list[str]], count: int) -> MleBaseline | None:
    """The baseline of a training text, in training from now on unless it is kept already."""
    import os

    from core.tracking.mlflow_store import DEFAULT_FOLDER, world_of
    from experiments.baselines import FEWEST, MleBaseline
    from experiments.console import err

    if not training:
        return None
    store = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{DEFAULT_FOLDER}/mlflow.db"
    made = MleBaseline(training, count, world_of(store))
    if not made.possible:
        err.print(f"note: no mle row: {len(training):,} training sentences, {FEWEST} would do")
        return None
    return made


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
