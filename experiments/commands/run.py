"""`textgan run`, `textgan fork`, `textgan sample`, `textgan reproduce`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Argument, Option

from core.errors import InputError, TextganError, first_line
from core.numbers import LARGEST_INTEGER, MAX_TEMPERATURE, MIN_TEMPERATURE
from core.plural import count
from experiments.commands.options import At, Json, Seed, Set, complete_system, examples, finite
from experiments.console import number, print_json, progress, stderr, stdout, table

if TYPE_CHECKING:
    from core.config import Config
    from core.tracking.protocol import Tracker

PROGRESS = {  # metrics next to the progress bar
    "train/discriminator_loss": "D loss",
    "train/generator_loss": "G loss",
    "eval/fed": "FED",
}

app = typer.Typer()


@app.command(
    epilog=examples(
        "textgan run mle",
        "textgan run experiments/smoke/run.toml --set corpus.source=my.txt --seed 1",
        "textgan run --resume 3f9a2c11",
        "textgan run --resume 3f9a2c11 --set train.updates=2000",
    )
)
def run(
    system: Annotated[
        str | None,
        Argument(
            metavar="SYSTEM|FILE.toml",
            help="System or file to train.",
            autocompletion=complete_system,
        ),
    ] = None,
    set_: Set = None,
    seed: Annotated[int | None, Option(help="Seed of the run.", min=0, max=LARGEST_INTEGER)] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None, Option(help="Device to train on.")
    ] = None,
    resume: Annotated[
        str | None, Option(metavar="RUN", help="Resume a run, by id or name.")
    ] = None,
    json: Json = False,
) -> None:
    """Train one system, evaluate it and record everything in MLflow.

    With --resume, a larger train.updates or train.minutes lets a finished run go further.

    For data parallel training start it with torchrun:
    torchrun --nproc-per-node 2 -m experiments run FILE.toml
    """
    from core.tracking.mlflow_store import existing_tracker, open_tracker
    from experiments.loading import load
    from experiments.single_run.extend import extended
    from experiments.single_run.run import find

    overrides = list(set_ or [])
    overrides += [f"seed={seed}"] if seed is not None else []
    overrides += [f'device="{device}"'] if device is not None else []
    if system is None and resume is None:
        raise InputError("run: give a system, such as mle, a TOML file, or --resume RUN")
    config = load(system, overrides) if system else None
    tracker = open_tracker() if resume is None else existing_tracker(None, f"run {resume!r}")
    if resume is not None and system is None and overrides:
        config = extended(*find(tracker, resume), overrides)
    _train(config, tracker, resume, json=json)


@app.command(
    epilog=examples(
        "textgan fork 3f9a2c11 --at 200 --set penalty.name=none",
        "textgan fork 3f9a2c11 --set train.updates=2000",
    )
)
def fork(
    run: Annotated[str, Argument(metavar="RUN", help="The run to fork, by id or name.")],
    at: Annotated[
        int | None,
        Option(metavar="UPDATE", help="Update of a kept checkpoint; default: the newest."),
    ] = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Start a new run from the full state of another: weights, optimiser moments, random streams,
    order of the data.

    Parts that the other run lacks, such as a discriminator, start from the seed. The budget counts
    from the start of the other run.
    """
    from core.tracking.mlflow_store import existing_tracker
    from experiments.single_run.fork import forked
    from experiments.single_run.run import find

    tracker = existing_tracker(None, f"run {run!r}")
    _train(forked(*find(tracker, run), at, set_ or []), tracker, None, json=json)


def _train(config: Config | None, tracker: Tracker, resume: str | None, *, json: bool) -> None:
    """Train with a progress bar and print the result."""
    from core.metrics.catalogue import metric_info
    from core.training.data_parallel import is_main
    from experiments.corpora import prepare
    from experiments.single_run.run import run as train

    if not is_main():  # rank 0 prints
        train(config, tracker=tracker, resume=resume)
        return
    if config is not None:
        prepare([config], tracker.store_dir)
    begun = [resume] if resume is not None else []

    def started(run_id: str) -> None:
        begun.append(run_id[:8])
        stderr.print(f"run {run_id[:8]}: follow it with textgan ui")

    with progress("training") as advance:

        def report(step: int, total: int | None, values: Mapping[str, float | None]) -> None:
            shown = {label: values.get(key) for key, label in PROGRESS.items()}
            parts = [f"{label} {v:.3g}" for label, v in shown.items() if v is not None]
            advance(step, total, "  ".join(parts))

        try:
            result = train(config, tracker=tracker, resume=resume, report=report, started=started)
        except KeyboardInterrupt:
            for key in begun:
                stderr.print(f"continue it with: textgan run --resume {shlex.quote(key)}")
            raise
    if json:
        print_json(result.document())
        return
    stderr.print(
        f"{result.outcome} after {count(result.updates, 'update')} in {result.seconds:.0f} s"
        + (f", {result.reason}" if result.reason else "")
    )
    real: Mapping[str, float] = {}
    try:
        real = tracker.run(result.run_id).metrics
    except TextganError as error:  # not delivered yet, or the store does not answer
        stderr.print(f"no values of real text: {first_line(error)}", markup=False)
    rows = []
    for key, value in result.metrics.items():
        if value is not None:
            info = metric_info(key)
            of_real = number(real.get(f"real/{key.partition('/')[2]}"))
            rows.append([key, number(value), of_real, info.better, info.summary])
    stdout.print(table(["metric", "value", "real text", "better", "what it is"], rows))
    short = result.run_id[:8]
    stderr.print(f"run {result.run_id}; sentences: textgan sample {short}; UI: textgan ui")


@app.command(epilog=examples("textgan sample 3f9a2c11 -n 5 --seed 7"))
def sample(
    run: Annotated[str, Argument(metavar="RUN", help="A run, by id or name.")],
    n: Annotated[int, Option("-n", help="Number of sentences.", min=1, max=1_000_000)] = 20,
    temperature: Annotated[
        float,
        Option(
            help="Sampling temperature; above 1 is more diverse.",
            min=MIN_TEMPERATURE,
            max=MAX_TEMPERATURE,
            callback=finite,
        ),
    ] = 1.0,
    seed: Seed = 0,
    at: At = None,
    json: Json = False,
) -> None:
    """Draw sentences from a run's model, or from the last checkpoint of a run that is training."""
    from core.tracking.mlflow_store import existing_tracker
    from experiments.single_run.checkpoints import sampler_of

    tracker = existing_tracker(None, f"run {run!r}")
    record = tracker.run(run)
    sampler = sampler_of(tracker, record.run_id, at)
    if at is None and sampler.update is not None:
        done = count(sampler.update, "update")
        stderr.print(f"run {record.run_id[:8]} has not ended; this is its checkpoint after {done}")
    sentences = sampler.sample(n, temperature, seed)
    if json:
        document = {"run_id": record.run_id, "seed": seed, "temperature": temperature, "at": at}
        print_json({**document, "sentences": sentences})
        return
    for sentence in sentences:
        typer.echo(sentence)


@app.command(epilog=examples("textgan reproduce 3f9a2c11", "textgan reproduce 3f9a2c11 --json"))
def reproduce(
    run: Annotated[str, Argument(metavar="RUN", help="A finished run, by id or name.")],
    json: Json = False,
) -> int:
    """Repeat a run from what the store holds, and compare the numbers.

    Exit status 0 if they agree bit for bit, or differ by no more than another seed may; else 1.
    """
    from core.tracking.mlflow_store import existing_tracker
    from experiments.reproduce import reproduce as repeat
    from experiments.reproduce import show

    tracker = existing_tracker(None, f"run {run!r}")
    with progress("training") as advance:

        def report(step: int, total: int | None, values: Mapping[str, float | None]) -> None:
            advance(step, total, "")

        found = repeat(tracker, run, report, lambda text: stderr.print(f"note: {text}"))
    if json:
        print_json(found.document())
    else:
        show(found)
    return 0 if found.verdict in ("identical", "within") else 1
