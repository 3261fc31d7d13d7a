"""`textgan evaluate`, `textgan sweep`, `textgan rate`: how good text is."""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Argument, Option

from core.errors import InputError
from experiments.commands.options import At, Json, Seed, examples, parts
from experiments.console import print_json, progress, stderr

if TYPE_CHECKING:
    from studies.analysis.plane import Sweep

FIGURES = (".png", ".svg", ".pdf")
app = typer.Typer()


@app.command(
    epilog=examples(
        "textgan evaluate samples.txt --references test.txt --train train.txt",
        "textgan evaluate samples.txt --references test.txt --metrics bleu,self_bleu --json",
        "textgan evaluate old.txt new.txt --references test.txt --train train.txt",
    )
)
def evaluate(
    samples: Annotated[
        list[Path],
        Argument(
            help="Sentences, split on white space: lines, or a file as for a corpus. Further "
            "files are compared with the first."
        ),
    ],
    references: Annotated[Path, Option(help="Real sentences to compare with.")],
    held_out: Annotated[
        Path | None, Option(help="Real sentences to score like samples, as a baseline.")
    ] = None,
    train: Annotated[
        Path | None, Option(help="Training text, for copies, the encoder and trained baselines.")
    ] = None,
    column: Annotated[
        str | None, Option(help="Column or field of the files; default: text.")
    ] = None,
    metrics: Annotated[
        list[str] | None, Option(help="Metric groups, such as bleu,distinct; default: all.")
    ] = None,
    oracle: Annotated[
        str | None,
        Option(
            metavar="SOURCE", help="Distribution of the text: grammar:easy, lstm_oracle:20, ..."
        ),
    ] = None,
    protocol: Annotated[
        str | None, Option(help="Published BLEU protocol: texygen, textgan, relgan or scratchgan.")
    ] = None,
    encoder: Annotated[
        str, Option(help="word_order, bag_of_words, or a sentence-transformers model.")
    ] = "word_order",
    html: Annotated[Path | None, Option(help="Write a page with figures.")] = None,
    log: Annotated[
        str | None, Option(metavar="STUDY", help="Record as a row of this study's leaderboard.")
    ] = None,
    json: Json = False,
) -> None:
    """Score files of sentences against real ones, with intervals and baselines."""
    from core.metrics import plugins
    from core.metrics.files import check_protocol, chosen_groups
    from experiments import evaluation

    plugins.load()
    names = parts(metrics) or None
    groups = chosen_groups(names)
    check_protocol(protocol, names)
    files = evaluation.Files(samples, references, held_out, train, column)
    tracker = evaluation.store_of_study(log, files, groups)
    texts = files.read_samples()
    inputs = evaluation.read_inputs(files, texts, oracle, encoder, protocol)
    found, compared = evaluation.score(inputs, texts, groups)
    if html is not None:
        evaluation.write_page(html, files, inputs, found, compared)
    if tracker is not None and log is not None:
        row = evaluation.log_imported(tracker, log, samples[0].name, found, inputs.samples)
        stderr.print(f"recorded in {log} as {row!r}; textgan report {log}", markup=False)
    if json:
        print_json((compared or found).model_dump(mode="json"))
    else:
        evaluation.show(found)
        if compared:
            evaluation.show_differences(compared)


@app.command(
    epilog=examples(
        "textgan sweep 3f9a2c11",
        "textgan sweep 3f9a2c11 81bc0d55 --temperatures .7,1,1.3 --output figures/plane.png",
        "textgan sweep 3f9a2c11 --at best",
        "textgan sweep --study first_minute --bound --json > results/sweeps/first_minute.json",
    )
)
def sweep(
    runs: Annotated[
        list[str] | None, Argument(metavar="RUN...", help="Runs, by id or name.")
    ] = None,
    study: Annotated[str | None, Option(help="All runs of a study with outcome ok.")] = None,
    temperatures: Annotated[
        list[str] | None, Option(help="Such as .5,1,1.5; default: nine from .5 to 1.5.")
    ] = None,
    n: Annotated[int, Option("-n", help="Sentences per temperature.", min=10, max=100_000)] = 1000,
    seed: Seed = 0,
    at: At = None,
    bound: Annotated[
        bool, Option("--bound", help="Also jsd_bound: 5 to 10 CPU seconds per temperature.")
    ] = False,
    split: Annotated[
        Literal["validation", "test"],
        Option(help="Text to compare with; choose a temperature on validation."),
    ] = "validation",
    output: Annotated[Path | None, Option(help="File of the figure: .png, .svg or .pdf.")] = None,
    json: Json = False,
) -> None:
    """Measure quality and diversity over temperature, as a figure and as an area."""
    from core.tracking.mlflow_store import existing_tracker
    from experiments.single_run.checkpoints import sampler_of
    from experiments.sweep import Draws, check_bound, runs_of, show, sweep_run, temperatures_of
    from studies.analysis.plane import sweep_figure

    if bound:
        check_bound(n)
    if output is not None and output.suffix not in FIGURES:
        raise InputError(f"--output {output}: must end in {', '.join(FIGURES)}")
    swept, tracker = temperatures_of(parts(temperatures)), existing_tracker()
    # All are loaded first, so that a missing model costs no sweep of the others.
    loaded = [
        (run, sampler_of(tracker, run.run_id, at)) for run in runs_of(tracker, runs or [], study)
    ]
    found: dict[str, Sweep] = {}
    with progress("temperatures") as advance:
        for record, sampler in loaded:
            label = record.run_id[:8] if at is None else f"{record.run_id[:8]} at {at}"
            found[f"{record.name} ({label})"] = sweep_run(
                tracker, record.run_id, sampler, Draws(swept, n, seed, bound, split),
                lambda done: advance(done, len(swept), ""),
            )  # fmt: skip
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        sweep_figure(found).savefig(output, dpi=200)
        stderr.print(f"written: {output}", markup=False)
    for note in dict.fromkeys(note for one in found.values() for note in one.notes):
        stderr.print(f"note: {note}", markup=False)
    if json:
        print_json({name: one.document() for name, one in found.items()})
    else:
        show(found, n)


@app.command(
    epilog=examples(
        "textgan rate design_axes --rater ada",
        "textgan rate design_axes --rater ada --kind real -n 50 --page",
        "textgan rate design_axes --results",
    )
)
def rate(
    study: Annotated[str, Argument(metavar="STUDY", help="The study whose sentences are rated.")],
    rater: Annotated[
        str | None, Option(help="Your name; answers of several raters are compared.")
    ] = None,
    kind: Annotated[
        Literal["better", "real"], Option(help="Compare two variants, or a variant with real text.")
    ] = "better",
    n: Annotated[int, Option("-n", help="Number of questions.", min=1, max=10_000)] = 20,
    page: Annotated[bool, Option("--page", help="Ask on a local web page.")] = False,
    port: Annotated[int, Option(help="Port of the page; 0: a free one.", min=0, max=65535)] = 0,
    results: Annotated[bool, Option(help="Show the results of all raters without asking.")] = False,
    json: Json = False,
) -> None:
    """Compare sentences blind and in random order; answers are kept and correlated with metrics."""
    from core.tracking.mlflow_store import existing_tracker
    from core.tracking.protocol import study_run
    from experiments import rating
    from studies.ratings import results as results_of

    tracker = existing_tracker()
    study = study_run(tracker, study).study
    if results:
        rating.sources(tracker, study, "better")  # InputError if there is nothing to rate
        found = results_of(tracker, study)
    elif not rater:
        raise InputError("rate: give your name with --rater NAME")
    else:
        asked = rating.questions(tracker, study, kind, rater, n)
        record = rating.recorder(tracker, study, kind, rater)
        if page:
            rating.ask_on_page(asked, kind, port, record)
        else:
            rating.ask_in_terminal(asked, kind, record)
        found = rating.publish(tracker, study)
    if json:
        print_json(found)
    else:
        rating.show(found)


@app.command("judge", hidden=True)
@wraps(rate)
def _judge(**options: Any) -> None:

    stderr.print(
        "warning: textgan judge is now called textgan rate; the old name goes with the next release"
    )
    rate(**options)
