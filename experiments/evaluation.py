"""What `textgan evaluate` needs besides the metrics: the oracle, the table, a row in a study.

`--log STUDY` records an evaluation of a text file as a row of the study's leaderboard: a variant of
its own with one run. The tags `imported` and `source` mark it, and its name ends in "(imported)".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.errors import InputError
from core.metrics.catalogue import CATALOGUE
from core.metrics.files import Evaluation, MetricRow
from core.text.grammar import SIZES, grammar
from core.text.oracles import LENGTH, Oracle, lstm_oracle
from core.tracking.protocol import Sample, Tracker, study_run
from experiments.console import interval, number, stderr, stdout, table

SHOWN = 10  # sentences in the record
TITLES = {"real": "real text", "mle": "mle", "ngram": "n-gram"}


def oracle_of(name: str | None) -> Oracle | None:
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


def show(found: Evaluation) -> None:
    """Print an evaluation as a table, with the baselines' descriptions and the warnings."""
    baselines = {name: row for name, row in found.baselines.items() if row is not None}
    rows = [
        [name, number(row.value), interval(row.low, row.high),
         f"{row.samples:,} x {row.references:,}",
         *(number(baseline.get(name)) for baseline in baselines.values()), row.direction]
        for name, row in found.metrics.items()
        if row.value is not None
    ]  # fmt: skip
    titles = [TITLES[name] for name in baselines]
    columns = ["metric", "value", "95% interval", "sentences", *titles, "better"]
    stdout.print(table(columns, rows))
    for name, title in TITLES.items():
        if found.about[name] is not None:
            stderr.print(f"{title}: {found.about[name]}", markup=False)
    for warning in found.warnings:
        stderr.print(f"note: {warning}", markup=False)


def check_ranked(tracker: Tracker, study: str, groups: Sequence[str]) -> None:
    """InputError for an unknown study, or if no group has the metric that ranks it."""
    metric = study_run(tracker, study).params["metric"].removeprefix("eval/")
    if metric not in [name for name, info in CATALOGUE.items() if info.group in groups]:
        raise InputError(f"--log {study}: it ranks by {metric}, which --metrics leaves out")


def log_imported(
    tracker: Tracker,
    study: str,
    source: str,
    metrics: Mapping[str, MetricRow],
    sentences: Sequence[Sequence[str]],
) -> str:
    """Record an evaluation as a row of a study; its name, with a number if it is taken."""
    taken = {run.name for run in tracker.runs(study, tags={"level": "variant"})}
    names = [f"{source} (imported)", *(f"{source} {k} (imported)" for k in range(2, 1000))]
    name = next(each for each in names if each not in taken)
    tags = {"study": study, "variant": name, "imported": "true", "source": source}
    of_variant = {**tags, "level": "variant", "whole_system": "true"}
    parent_id = study_run(tracker, study).run_id
    row = tracker.start_run(study, name, params={}, tags=of_variant, parent_id=parent_id)
    of_seed = {**tags, "level": "seed", "seed": "0"}
    run = tracker.start_run(study, name, params={}, tags=of_seed, parent_id=row.run_id)
    values = {f"eval/{metric}": found.value for metric, found in metrics.items()}
    for metric, found in metrics.items():
        if found.low is not None:
            values[f"interval/{metric}_low"] = found.low
            values[f"interval/{metric}_high"] = found.high
    run.log_metrics(values, 0)
    run.log_samples([Sample(0, i, " ".join(words)) for i, words in enumerate(sentences[:SHOWN])])
    run.describe(f"Imported from `{source}`: {len(sentences):,} sentences, scored unchanged.")
    run.finish("ok")
    row.finish("ok")
    return name
