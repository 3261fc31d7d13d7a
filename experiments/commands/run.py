"""`textgan run`, `textgan sample`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import typer

from experiments.commands.options import At, Json, Set, complete_system, examples


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(
        epilog=examples(
            "textgan run mle",
            "textgan run experiments/smoke/run.toml --set corpus.source=my.txt --seed 1",
            "textgan run --resume 3f9a2c11",
        )
    )(run)
    app.command(epilog=examples("textgan sample 3f9a2c11 -n 5 --seed 7"))(sample)


def run(
    system: Annotated[
        str | None,
        typer.Argument(
            metavar="SYSTEM|FILE.toml", help="What to train.", autocompletion=complete_system
        ),
    ] = None,
    set_: Set = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the run.", min=0)] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"] | None, typer.Option(help="Where.")] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Go on with a run, by id or name.")
    ] = None,
    json: Json = False,
) -> None:
    """Train one system, evaluate it and keep everything in MLflow.

    Several processes train one run, each an equal share of every batch, where torchrun starts
    them: torchrun --nproc-per-node 2 -m experiments run FILE.toml
    """
    from core.errors import InputError
    from core.tracking.mlflow_store import open_tracker
    from core.training.data_parallel import is_main
    from experiments.commands.corpora import prepare
    from experiments.console import err, print_json, progress
    from experiments.single_run.loading import load
    from experiments.single_run.run import run as train

    overrides = list(set_ or [])
    overrides += [f"seed={seed}"] if seed is not None else []
    overrides += [f'device="{device}"'] if device is not None else []
    if system is None and resume is None:
        raise InputError("run what? give a system or a TOML file, or --resume RUN")
    if system is None and overrides:
        raise InputError("--resume takes the run's own settings; leave out --set, --seed, --device")
    config = load(system, overrides) if system else None
    tracker = open_tracker()
    if not is_main():  # one of several processes of torchrun: another speaks for all
        train(config, tracker=tracker, resume=resume)
        return
    if config is not None:
        prepare([config], tracker.store_dir)
    with progress("training") as advance:

        def report(step: int, total: int | None, values: Mapping[str, float | None]) -> None:
            advance(step, total, _words(values))

        result = train(config, tracker=tracker, resume=resume, report=report)
    if json:
        print_json(result.document())
        return
    err.print(f"{result.outcome} after {result.updates} updates in {result.seconds:.0f} s")
    _print_result(result.metrics)
    err.print(f"run {result.run_id}; sentences: textgan sample {result.run_id[:8]}; UI: textgan ui")


def sample(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run, by id or name.")],
    n: Annotated[int, typer.Option("-n", help="How many sentences.", min=1, max=1_000_000)] = 20,
    temperature: Annotated[float, typer.Option(help="Above 1 more varied.", min=0.01)] = 1.0,
    seed: Annotated[int, typer.Option(help="The same sentences again.", min=0)] = 0,
    at: At = None,
    json: Json = False,
) -> None:
    """Draw sentences from a run's model."""
    from core.tracking.mlflow_store import open_tracker
    from experiments.console import print_json
    from experiments.single_run.checkpoints import writer_of

    tracker = open_tracker()
    record = tracker.run(run)
    sentences = writer_of(tracker, record.run_id, at).sample(n, temperature, seed)
    if json:
        document = {"run_id": record.run_id, "seed": seed, "temperature": temperature, "at": at}
        print_json({**document, "sentences": sentences})
        return
    for sentence in sentences:
        typer.echo(sentence)


def _words(values: Mapping[str, float | None]) -> str:
    shown = {
        "train/discriminator_loss": "D",
        "train/generator_loss": "G",
        "eval/ms_jaccard_2": "overlap",
    }
    found = [f"{word} {values[k]:.3g}" for k, word in shown.items() if values.get(k) is not None]
    return "  ".join(found)


def _print_result(metrics: Mapping[str, float | None]) -> None:
    from core.metrics.catalogue import METRICS
    from experiments.console import out, table

    rows = []
    for key, value in metrics.items():
        info = METRICS[key.removeprefix("eval/")]
        shown = "-" if value is None else f"{value:.4f}"
        rows.append([key, shown, info.direction, info.summary])
    out.print(table(["metric", "value", "better", "what it is"], rows))
