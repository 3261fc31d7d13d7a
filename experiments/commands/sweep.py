"""`textgan sweep`: quality against diversity over temperature."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.commands.options import At, Json, examples

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.text.corpus import Corpus
    from core.tracking.protocol import RunRecord, Tracker
    from experiments.console import Advance
    from experiments.generate import Writer
    from experiments.sweep import Text
    from studies.analysis.temperature import Sweep


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        epilog=examples(
            "textgan sweep 3f9a2c11",
            "textgan sweep 3f9a2c11 81bc0d55 --temperatures .7,1,1.3 --output figures/plane.png",
            "textgan sweep 3f9a2c11 --at best",
            "textgan sweep --study temperature --json > results/sweeps/temperature.json",
        )
    )(sweep)


def sweep(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN...", help="Runs, by id or name.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="All runs of a study that ended well.")] = None,
    temperatures: Annotated[
        str | None, typer.Option(help="Such as .5,1,1.5; default: nine from .5 to 1.5.")
    ] = None,
    n: Annotated[int, typer.Option("-n", help="Sentences at each.", min=10, max=100_000)] = 1000,
    seed: Annotated[int, typer.Option(help="Of the draws.", min=0)] = 0,
    at: At = None,
    output: Annotated[Path | None, typer.Option(help="The figure: .png, .svg or .pdf.")] = None,
    json: Json = False,
) -> None:
    """Quality and diversity of runs over temperature, as a figure and as an area."""
    from core.tracking.mlflow_store import open_tracker
    from experiments.console import err, out, print_json, progress, table
    from experiments.single_run.checkpoints import writer_of
    from studies.analysis.temperature import sweep_figure

    tracker, swept = open_tracker(), _numbers(temperatures)
    # All are opened first: one that is not to be had costs no sweep of the others.
    wanted = [(run, writer_of(tracker, run.run_id, at)) for run in _wanted(tracker, runs, study)]
    found: dict[str, Sweep] = {}
    with progress("temperatures") as advance:
        for record, writer in wanted:
            label = record.run_id[:8] if at is None else f"{record.run_id[:8]} at {at}"
            corpus = corpus_of(tracker, record.run_id)
            found[f"{record.name} ({label})"] = _sweep_run(
                writer, corpus, tracker.store_dir, swept, n, seed, advance
            )
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        sweep_figure(found).savefig(output, dpi=200)
    for note in dict.fromkeys(note for one in found.values() for note in one.notes):
        err.print(f"note: {note}", markup=False)
    if json:
        print_json({name: one.document() for name, one in found.items()})
        return
    for name, one in found.items():
        rows = [
            [f"{p.temperature:g}" if p.temperature is not None else label,
             _cell(p.quality, p.quality_interval), _cell(p.diversity, p.diversity_interval)]
            for label, p in [*(("", p) for p in one.points), *one.baselines.items()]
        ]  # fmt: skip
        title = f"{name}: area {one.area:.4f}; {n:,} sentences, {one.references:,} references"
        out.print(table([one.swept, "BLEU-4", "1 - Self-BLEU-4"], rows, title))
    if output is not None:
        err.print(f"written: {output}")


def _wanted(tracker: Tracker, runs: list[str] | None, study: str | None) -> list[RunRecord]:
    """The runs that are named and those of the study; InputError where there are none."""
    from core.errors import InputError

    found = [tracker.run(key) for key in runs or []]
    if study is not None:
        seeds = tracker.runs(study, tags={"level": "seed"})
        found += [run for run in seeds if run.outcome == "ok"]
    if not found:
        what = f"study {study!r} has no run that ended well" if study else "no run is named"
        raise InputError(f"{what}: textgan sweep RUN..., or --study NAME")
    return found


def _sweep_run(
    writer: Writer,
    corpus: Corpus,
    store_dir: Path,
    temperatures: tuple[float, ...],
    n: int,
    seed: int,
    advance: Advance,
) -> Sweep:
    from dataclasses import replace

    import numpy as np

    from core.metrics.suite import Suite
    from experiments.baselines import mle_baseline
    from experiments.sweep import sweep as measure

    training = corpus.train.sentences()
    mle = mle_baseline(training, n, store_dir)  # trains beside the rest
    suite = Suite(corpus.validation.sentences(n), training)
    baselines: dict[str, Callable[[], Text]] = {
        "real": lambda: corpus.test.sentences(n),
        "ngram": lambda: suite.model.sample(n, np.random.default_rng(seed)),
    }
    if mle is not None:
        baselines["mle"] = mle
    found = measure(
        writer, suite, temperatures, n, seed, baselines,
        lambda done: advance(done, len(temperatures), ""),
    )  # fmt: skip
    if mle is None or "mle" not in found.baselines:
        return found
    return replace(found, notes=(*found.notes, f"mle: {n:,} sentences of {mle.about()}"))


def corpus_of(tracker: Tracker, run_id: str) -> Corpus:
    """The corpus that a run was trained on, built again where it is gone."""
    from core.config import parse, read_toml
    from experiments.single_run.run import open_corpus
    from variants import registry

    file = tracker.artifact(run_id, "config.toml")
    config = parse(read_toml(file), registry(), str(file))
    return open_corpus(config.corpus, tracker.store_dir, config.model.length)


def _numbers(text: str | None) -> tuple[float, ...]:
    from core.errors import InputError
    from experiments.sweep import TEMPERATURES

    if text is None:
        return TEMPERATURES
    try:
        found = tuple(sorted(float(part) for part in text.split(",")))
    except ValueError:
        raise InputError(f"--temperatures {text}: numbers with commas, such as .5,1,1.5") from None
    if not found or found[0] <= 0:
        raise InputError(f"--temperatures {text}: each must be above 0")
    return found


def _cell(value: float, interval: tuple[float, float] | None) -> str:
    return f"{value:.4f}" + (f" ({interval[0]:.4f} to {interval[1]:.4f})" if interval else "")
