"""What `textgan evaluate` needs besides the metrics: files, the oracle, a table, a page, a row of a
study.

`--log STUDY` records an evaluation of a text file as a row of the study's leaderboard: a variant of
its own with one run. The tags `imported` and `source` mark it, and its name ends in "(imported)".
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from core.errors import InputError
from core.metrics.catalogue import CATALOGUE, FLOORS
from core.metrics.comparison import EvaluationComparison, compare
from core.metrics.encoders import BUILT_IN, DEFAULT, SentenceTransformer
from core.metrics.files import Evaluation, Inputs, evaluate, read_sentences
from core.metrics.judgements import in_processes
from core.metrics.ngrams import Text
from core.plural import count
from core.text.grammar import SIZES, grammar
from core.text.oracles import LENGTH, Oracle, lstm_oracle
from core.tracking.mlflow_client import DEFAULT_FOLDER, store_dir_of
from core.tracking.mlflow_store import existing_tracker
from core.tracking.protocol import Tracker, study_run
from core.tracking.rendering import Sample
from experiments.baselines import MleBaseline, mle_baseline
from experiments.console import interval, number, progress, stderr, stdout, table
from studies.figures import BLUE, GREEN, GREY, ORANGE, VARIABLES, inline
from studies.leaderboard import SIGNATURE, variant_runs
from studies.report import environment

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 10  # sentences on the page and in the record
TITLES = {"real": "real text", "mle": "mle_tuned", **{name: name for name in FLOORS}}
LOOKS = {"samples": (BLUE, "o"), "real": (ORANGE, "D"), "mle": (GREEN, "s"),
         "unigram": (GREY, "v"), "bigram": (GREY, "<"), "trigram": (GREY, "^")}  # fmt: skip
DIFFERENCE_COLUMNS = ("metric", "first", "this", "difference", "95% interval", "better")
ORDERS = (1, 2, 3, 4)  # of distinct n-grams
DISTINCT = tuple(f"distinct_{n}" for n in ORDERS)
PLANE = ("self_bleu_4", "bleu_4")
TESTS = {"c2st": "classifier", "nearest_neighbour": "nearest neighbour"}
UNDEFINED = (None, None, None)
Values = Mapping[str, tuple[float | None, float | None, float | None]]  # metric: value, interval


@dataclass(frozen=True)
class Files:
    """The files of an evaluation, each with one text; InputError for samples given twice."""

    samples: Sequence[Path]
    references: Path
    held_out: Path | None
    train: Path | None
    column: str | None  # of those that are tables

    def __post_init__(self) -> None:
        for place, file in enumerate(self.samples):
            if file in self.samples[:place]:
                raise InputError(f"{file}: given twice; give each file of samples once")

    def read_samples(self) -> dict[str, Text]:
        """The sentences of each file of samples, by its path."""
        return {str(file): read_sentences(file, self.column) for file in self.samples}


def read_inputs(
    files: Files,
    samples: Mapping[str, Text],
    oracle: str | None,
    encoder: str,
    protocol: str | None,
) -> Inputs:
    """The inputs of the first file of samples. The likelihood baseline starts to train, once
    everything else has been read.
    """
    ours, column = samples[str(files.samples[0])], files.column
    inputs = Inputs(
        ours,
        read_sentences(files.references, column),
        read_sentences(files.held_out, column) if files.held_out is not None else None,
        read_sentences(files.train, column) if files.train is not None else [],
        oracle=parse_oracle(oracle),
        encoder=None if encoder in BUILT_IN else SentenceTransformer(encoder),
        built_in=encoder if encoder in BUILT_IN else DEFAULT,
        protocol=protocol,
    )
    return replace(inputs, mle=mle_baseline(inputs.train, len(ours), _store_dir()))


def _store_dir() -> Path:
    """The folder of the store, which need not exist."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{DEFAULT_FOLDER}/mlflow.db"
    return store_dir_of(uri)


def score(
    inputs: Inputs, samples: Mapping[str, Text], groups: Sequence[str]
) -> tuple[Evaluation, EvaluationComparison | None]:
    """Score the first samples and compare the others with them, if there are others. An error ends
    the training of the likelihood baseline too.
    """
    kept = _store_dir() / "baselines" if inputs.train else None
    with ExitStack() as at_the_end:
        if isinstance(inputs.mle, MleBaseline):
            at_the_end.callback(inputs.mle.stop)
        # One thread, as everywhere: the last digits depend on it, and other processes use cores.
        at_the_end.enter_context(threadpool_limits(1))
        judgements = at_the_end.enter_context(in_processes(kept))
        advance = at_the_end.enter_context(progress("metrics"))

        def step(name: str, done: float, total: float) -> None:
            advance(done, total, name)

        inputs = replace(inputs, judgements=judgements)
        if len(samples) == 1:
            return evaluate(inputs, groups, step), None
        compared = compare(inputs, samples, groups, step)
        return compared.files[compared.baseline], compared


def parse_oracle(name: str | None) -> Oracle | None:
    """The oracle `grammar:DIFFICULTY` or `lstm_oracle:LENGTH:SEED`; all parameters are optional."""
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
        f"--oracle {name}: no such oracle; known: {known}, lstm_oracle, lstm_oracle:LENGTH, "
        f"lstm_oracle:LENGTH:SEED"
    )


def baselines_of(found: Evaluation) -> dict[str, Values]:
    """Values and intervals of the baselines that there are."""
    return {
        side: {
            name: (value, *((found.baseline_intervals[side] or {}).get(name) or (None, None)))
            for name, value in values.items()
        }
        for side, values in found.baselines.items()
        if values is not None
    }


def show(found: Evaluation) -> None:
    """Print an evaluation as a table, with the baselines' descriptions and the warnings."""
    baselines = baselines_of(found)
    rows = [
        [name, number(row.value), interval(row.low, row.high),
         f"{row.samples:,} x {row.references:,}",
         *(number(values.get(name, UNDEFINED)[0]) for values in baselines.values()),
         CATALOGUE[name].better]
        for name, row in found.metrics.items()
        if row.value is not None
    ]  # fmt: skip
    titles = [TITLES[name] for name in baselines]
    columns = ["metric", "value", "95% interval", "sentences", *titles, "better"]
    stdout.print(table(columns, rows))
    for name, title in TITLES.items():
        if found.about[name] is not None:
            stderr.print(f"{title}: {found.about[name]}", markup=False)
    stderr.print(f"signature: {found.signature}", markup=False)
    for warning in found.warnings:
        stderr.print(f"note: {warning}", markup=False)


def difference_tables(compared: EvaluationComparison) -> dict[str, list[list[str]]]:
    """For each file but the first, a row for each metric that both have: its values in both, the
    difference, the interval, and which way is better.
    """
    first = compared.files[compared.baseline].metrics
    tables = {}
    for name, differences in compared.differences.items():
        this = compared.files[name].metrics
        tables[name] = [
            [metric, number(first[metric].value), number(this[metric].value), number(found.value),
             interval(found.low, found.high), CATALOGUE[metric].better]
            for metric, found in differences.items()
            if found.value is not None
        ]  # fmt: skip
    return tables


def refusals(compared: EvaluationComparison) -> list[str]:
    """A sentence for each reason not to subtract some metrics."""
    return [
        f"{name}: not subtracted, {reason}: "
        + ", ".join(metric for metric, found in differences.items() if found.reason == reason)
        for name, differences in compared.differences.items()
        for reason in dict.fromkeys(found.reason for found in differences.values() if found.reason)
    ]


def show_differences(compared: EvaluationComparison) -> None:
    """Print a table for each file but the first: its difference from the first."""
    for name, rows in difference_tables(compared).items():
        title = f"{name} minus {compared.baseline}"
        stdout.print(table([*DIFFERENCE_COLUMNS], rows, title))
    for sentence in refusals(compared):
        stderr.print(f"note: {sentence}", markup=False)


def store_of_study(study: str | None, files: Files, groups: Sequence[str]) -> Tracker | None:
    """The store of the study that the evaluation is recorded in; None if it is in none. InputError
    if the study cannot record it.
    """
    if study is None:
        return None
    if len(files.samples) > 1:
        raise InputError("--log records one file of samples; run it once for each file")
    tracker = existing_tracker()
    _check_ranked(tracker, study, groups)
    return tracker


def _check_ranked(tracker: Tracker, study: str, groups: Sequence[str]) -> None:
    """InputError for an unknown study, or if no group has the metric that ranks it."""
    split, _, metric = study_run(tracker, study).params["metric"].partition("/")
    if split != "eval":
        raise InputError(f"--log {study}: it ranks by {split}/{metric}, which only its runs have")
    if CATALOGUE[metric].group not in groups:
        raise InputError(f"--log {study}: it ranks by {metric}, which --metrics leaves out")


def log_imported(
    tracker: Tracker, study: str, source: str, found: Evaluation, sentences: Text
) -> str:
    """Record an evaluation as a row of a study; its name, with a number if it is taken."""
    parent = study_run(tracker, study)
    study = parent.experiment
    taken = variant_runs(tracker, study)
    names = [f"{source} (imported)", *(f"{source} {k} (imported)" for k in range(2, 1000))]
    name = next(each for each in names if each not in taken)
    tags = {"study": parent.study, "variant": name, "imported": "true", "source": source}
    of_variant = {**tags, "level": "variant", "whole": "true"}
    own = tracker.start_run(study, name, params={}, tags=of_variant, parent_id=parent.run_id)
    of_seed = {**tags, "level": "seed", "seed": "0", SIGNATURE: found.signature}
    run = tracker.start_run(study, name, params={}, tags=of_seed, parent_id=own.run_id)
    values = {f"eval/{metric}": row.value for metric, row in found.metrics.items()}
    for metric, row in found.metrics.items():
        if row.low is not None:
            values[f"interval/{metric}_low"] = row.low
            values[f"interval/{metric}_high"] = row.high
    run.log_metrics(values, 0)
    run.log_samples([Sample(0, i, " ".join(words)) for i, words in enumerate(sentences[:SHOWN])])
    run.describe(
        f"Imported from `{source}`: {count(len(sentences), 'sentence')}, scored unchanged."
    )
    run.finish("ok")
    own.log_metrics({"score": values.get(parent.params["metric"])}, 0)
    own.finish("ok")
    return name


def write_page(
    file: Path,
    files: Files,
    inputs: Inputs,
    found: Evaluation,
    compared: EvaluationComparison | None,
) -> None:
    """Write the page of an evaluation, with the differences of further files from it."""
    baselines = baselines_of(found)
    rows = [
        (name, row, [values.get(name, UNDEFINED) for values in baselines.values()])
        for name, row in found.metrics.items()
        if row.value is not None
    ]
    page, figure = environment().get_template("evaluation.html"), evaluation_figure(found)
    text = page.render(
        title=", ".join(each.name for each in files.samples),
        colours=VARIABLES,
        samples=f"{len(inputs.samples):,}",
        references=f"{len(inputs.references):,}",
        warnings=found.warnings,
        signature=found.signature,
        figure=inline(figure, "evaluation", "samples and baselines") if figure else "",
        baselines=[TITLES[name] for name in baselines],
        rows=rows,
        number=number,
        interval=interval,
        catalogue=CATALOGUE,
        baseline=compared.baseline if compared else "",
        differences=difference_tables(compared) if compared else {},
        difference_columns=DIFFERENCE_COLUMNS,
        refusals=refusals(compared) if compared else [],
        about=[(TITLES[name], found.about[name]) for name in baselines],
        sentences=[" ".join(sentence) or "(no words)" for sentence in inputs.samples[:SHOWN]],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    stderr.print(f"written: {file}", markup=False)


def evaluation_figure(found: Evaluation) -> Figure | None:
    """Samples and baselines: quality and diversity, distinct n-grams, accuracy of classifiers.
    Panels without a metric of theirs are left out; None if all are.
    """
    from matplotlib.figure import Figure

    scored = {name: (row.value, row.low, row.high) for name, row in found.metrics.items()}
    sides: dict[str, Values] = {"samples": scored, **baselines_of(found)}
    known = {name for name, (value, _, _) in scored.items() if value is not None}
    drawn = [draw for draw, needed in PANELS if known.issuperset(needed)]
    if not drawn:
        return None
    figure = Figure(figsize=(3.2 * len(drawn), 3.5), layout="constrained")
    axes = figure.subplots(1, len(drawn), squeeze=False)[0]
    for axis, draw in zip(axes, drawn, strict=True):
        for place, (side, values) in enumerate(sides.items()):
            draw(axis, side, values, 0.16 * (place - (len(sides) - 1) / 2))
        axis.grid(alpha=0.25)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, 2 * len(drawn)))
    return figure


def _plane(axis: Axes, side: str, values: Values, _: float) -> None:
    axis.set_title("quality and diversity")
    axis.set_xlabel("Self-BLEU-4 (lower: more diverse)")
    axis.set_ylabel("BLEU-4 (higher: closer to real)")
    axis.margins(0.15)
    axis.locator_params(axis="x", nbins=4)
    x, y = (values.get(name, UNDEFINED)[0] for name in PLANE)
    if x is not None and y is not None:
        colour, mark = LOOKS[side]
        axis.plot(x, y, mark, color=colour, ms=7, ls="", label=TITLES.get(side, side))
        across, along = (values[name][1:] for name in PLANE)
        if None not in across:
            axis.plot(across, (y, y), color=colour, lw=1.5)  # type: ignore[arg-type]
        if None not in along:
            axis.plot((x, x), along, color=colour, lw=1.5)  # type: ignore[arg-type]


def _distinct(axis: Axes, side: str, values: Values, _: float) -> None:
    axis.set(title="distinct n-grams over n-grams", xlabel="n", xticks=ORDERS, ylim=(0, 1))
    found = (values.get(name, UNDEFINED)[0] for name in DISTINCT)
    heights = [height for height in found if height is not None]
    if len(heights) == len(ORDERS):
        colour, mark = LOOKS[side]
        title = TITLES.get(side, side)
        axis.plot(ORDERS, heights, marker=mark, color=colour, ms=5, lw=1.2, label=title)


def _tests(axis: Axes, side: str, values: Values, offset: float) -> None:
    axis.set_title("classifier against real text")
    axis.set_xlabel("accuracy; .5 is chance")
    axis.axhline(0.5, color=GREY, lw=1, ls="--")
    axis.set_xticks(range(len(TESTS)), list(TESTS.values()))
    axis.set_xlim(-0.6, len(TESTS) - 0.4)
    axis.set_ylim(0.3, 1.02)
    colour, mark = LOOKS[side]
    label: str | None = TITLES.get(side, side)
    for place, name in enumerate(TESTS):
        value, low, high = values.get(name, UNDEFINED)
        if value is not None:
            axis.plot(place + offset, value, mark, color=colour, ms=6, ls="", label=label)
            label = None  # one entry of the legend
            if low is not None and high is not None:
                axis.plot([place + offset] * 2, [low, high], color=colour, lw=1.5)


PANELS = ((_plane, PLANE), (_distinct, DISTINCT), (_tests, tuple(TESTS)))  # and what they need
