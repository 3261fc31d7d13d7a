"""`textgan evaluate`: the metrics on text files from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.commands.options import Json, examples

if TYPE_CHECKING:
    from core.metrics.files import Evaluation
    from core.text.oracles import Oracle
    from core.tracking.protocol import Tracker


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
        str | None,
        typer.Option(metavar="SOURCE", help="Behind the text: grammar:easy, lstm_oracle:20, ..."),
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
    from threadpoolctl import threadpool_limits

    from core.metrics.encoders import SentenceTransformer
    from core.metrics.files import Inputs, chosen_groups, chosen_protocol, read_sentences
    from core.metrics.files import evaluate as score
    from experiments.baselines import mle_baseline
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
        mle_baseline(training, len(ours), _store_dir()),
        oracle=_oracle(oracle),
        encoder=SentenceTransformer(encoder) if encoder is not None else None,
        protocol=protocol,
    )
    # One thread, as everywhere: the last digits depend on it, and the baseline trains beside.
    with threadpool_limits(1), progress("metrics") as advance:
        found = score(inputs, groups, lambda words, done, total: advance(done, total, words))
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        page = evaluation_page(samples.name, found, ours, len(inputs.references))
        html.write_text(page, encoding="utf-8")
        err.print(f"written: {html}", markup=False)
    if tracker is not None and log is not None:
        name = log_imported(tracker, log, samples.name, found.metrics, ours)
        err.print(f"recorded in {log} as {name!r}; textgan report {log}", markup=False)
    if json:
        print_json(found.model_dump(mode="json"))
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


def _store_dir() -> Path:
    """The folder of the store, where the trained baseline is kept."""
    import os

    from core.tracking.mlflow_client import DEFAULT_FOLDER, store_dir_of

    return store_dir_of(
        os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{DEFAULT_FOLDER}/mlflow.db"
    )


def _oracle(name: str | None) -> Oracle | None:
    """`grammar:DIFFICULTY`, or `lstm_oracle:LENGTH:SEED`, both numbers optional."""
    from core.errors import InputError
    from core.text.grammar import SIZES, grammar
    from core.text.oracles import LENGTH, lstm_oracle

    if name is None:
        return None
    source, *rest = name.split(":")
    if source == "grammar" and len(rest) <= 1 and (rest or ["default"])[0] in SIZES:
        return grammar((rest or ["default"])[0])
    if source == "lstm_oracle" and len(rest) <= 2 and all(part.isdecimal() for part in rest):
        length, seed = [*map(int, rest), *(LENGTH, 0)[len(rest) :]]
        if length > 0:
            return lstm_oracle(length, seed)
    known = ", ".join(f"grammar:{size}" for size in SIZES)
    raise InputError(
        f"--oracle {name}: no such oracle; there are {known}, and lstm_oracle, lstm_oracle:LENGTH "
        f"or lstm_oracle:LENGTH:SEED"
    )


def _show(found: Evaluation) -> None:
    from experiments.console import err, out, table

    baselines = {name: row for name, row in found.baselines.items() if row is not None}
    rows = [
        [name, _number(row.value),
         f"{_number(row.low)} to {_number(row.high)}" if row.low is not None else "",
         f"{row.samples:,} x {row.references:,}",
         *(_number(baseline.get(name)) for baseline in baselines.values()), row.direction]
        for name, row in found.metrics.items()
        if row.value is not None
    ]  # fmt: skip
    titles = {"real": "real text", "mle": "mle", "ngram": "n-gram"}
    columns = [
        "metric",
        "value",
        "95% interval",
        "sentences",
        *(titles[b] for b in baselines),
        "better",
    ]
    out.print(table(columns, rows))
    for name, title in titles.items():
        if found.about[name] is not None:
            err.print(f"{title}: {found.about[name]}", markup=False)
    for warning in found.warnings:
        err.print(f"note: {warning}", markup=False)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
