"""RESULTS.md, figures, model card and reproduction table, from the summaries alone.

    python -m docs.results results RESULTS.md --pictures PICTURES --card docs/model_card.md

The same summaries make the same bytes: no date, no machine, no randomness.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader
from pydantic import TypeAdapter, ValidationError

from core.config import read_toml
from core.config.parsing import checked
from core.config.renamed import current_text
from core.config.schema import Frozen
from core.errors import InputError
from core.faults import first_fault
from core.files import read_bounded
from core.metrics.catalogue import METRICS
from core.plural import count
from core.statistics import LEVEL, difference, holm, means, padded, summarize
from docs import laboratory_page
from docs.summaries import load
from studies.analysis.laboratory import SMALLEST
from studies.analysis.plane import Sweep, Sweeps, by_variant, sweep_figure
from studies.analysis.ranking import findings
from studies.definition import from_definition
from studies.figures import draw, save
from studies.leaderboard import Row
from studies.report import Report, build, environment
from studies.sections import Reading, Section, between, contrast, last_samples
from variants import registry

STORE_ONLY = ("training",)  # sections for which a summary does not have the data
INFERENCE = "inference.json"  # coverage of intervals, from `python -m benchmarks.inference`
ADAPTIVE = "adaptive.json"  # adaptive seeds, from `python -m benchmarks.adaptive`
LABORATORY = "metrics.json"  # what each metric sees, from `python -m benchmarks.metrics`
LIMITS = "judge/limit.json"  # of `python -m benchmarks.judge`
SWEEPS = "sweeps"  # folder of the sweeps of a study's runs, from `textgan sweep --json`
BEST = "first_minute"  # the study whose winner has a model card
LARGEST = 10_000_000  # bytes of a file of sweeps
PICTURES = "pictures/results"  # relative to the card
# The columns of a study's main table that are in RESULTS.md, by the section; the first that it has.
BRIEF = {
    "branches": ("contrast", "difference", "95% interval", "verdict"),
    "leaderboard": ("variant", "score", "score without failures", "outcomes", "against the first"),
}
STAGED = re.compile(r"(.*) · (.*) - (.*) · \2")  # a contrast of two choices after one stage
PUBLISHED, REAL = "published.toml", "real"
CARD_METRICS = ("jsd", "jsd_bound", "valid", "unique", "template_tv", "oracle_nll",
                "ms_jaccard_2", "bleu_4", "self_bleu_4", "copied", "length")  # fmt: skip
# Which depend on the number of sentences, and the card has fewer of real text.
UNEQUAL = ("unique", "template_tv", "ms_jaccard_2", "self_bleu_4")


def main(arguments: Sequence[str] | None = None) -> None:
    """Render the given pages."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("summaries", type=Path, help="folder of JSON files")
    parser.add_argument("pages", type=Path, nargs="+", help="Markdown files to write")
    parser.add_argument("--pictures", type=Path, required=True, help="folder of the figures")
    parser.add_argument("--numbers", type=Path, help="Markdown file of published numbers and ours")
    parser.add_argument("--laboratory", type=Path, help="Markdown file of the metric laboratory")
    parser.add_argument("--inference", type=Path, help="Markdown file of the simulated coverage")
    parser.add_argument("--card", type=Path, help="Markdown file of the best model's card")
    given = parser.parse_args(arguments)
    reports = reports_of(given.summaries)
    write(reports, given.pages)
    for study, report in reports.items():
        report.write_figures(given.pictures / study, ("svg",))
    for page, render in ((given.card, model_card), (given.numbers, reproduction)):
        if page is not None:
            page.write_text(render(given.summaries), encoding="utf-8")
    if given.laboratory is not None:
        write_laboratory(given.summaries / LABORATORY, given.laboratory, given.pictures)
    if given.inference is not None:
        given.inference.write_text(inference(given.summaries / INFERENCE), encoding="utf-8")


def inference(file: Path) -> str:
    """The page of the simulated coverage and error rates."""
    found, adaptive = (
        json.loads(each.read_text(encoding="utf-8")) for each in (file, file.with_name(ADAPTIVE))
    )
    return _templates().get_template("inference.jinja").render(**found, adaptive=adaptive)


def write_laboratory(file: Path, page: Path, pictures: Path, packaged: Path = SMALLEST) -> None:
    """The page of the metric laboratory, its figure, and what is installed with the package."""
    table = laboratory_page.read_table(file)
    limits = file.parent / LIMITS
    rows = json.loads(limits.read_text(encoding="utf-8")) if limits.exists() else []
    template = _templates().get_template("metrics_laboratory.jinja")
    text = template.render(**laboratory_page.page(table), limits=rows)
    page.write_text(text, encoding="utf-8")
    doses = json.dumps(laboratory_page.smallest(table)).replace("}, ", "},\n")
    packaged.write_text(doses + "\n", encoding="utf-8")
    figure = draw(lambda: laboratory_page.smallest_figure(table))
    save(figure, pictures / file.stem, "smallest", ("svg",))


def _templates() -> Environment:
    """Those of the pages, with the filters of a report."""
    folder = Path(__file__).parent / "templates"
    return environment().overlay(loader=FileSystemLoader(folder))


def reports_of(summaries: Path) -> dict[str, Report]:
    """The report of every summary, by the study's name; InputError for a bad one."""
    reports: dict[str, Report] = {}
    with tempfile.TemporaryDirectory() as folder:
        others = {summaries / name for name in (LABORATORY, INFERENCE, ADAPTIVE)}
        for file in sorted(set(summaries.glob("*.json")) - others):
            made = build(load(file, Path(folder) / file.stem))
            sections = [each for each in made.sections if each.key not in STORE_ONLY]
            made = replace(made, sections=sections)
            swept = _swept(summaries, file.stem)
            reports[file.stem] = made if swept is None else with_sweeps(made, swept)
    return reports


def write(reports: Mapping[str, Report], pages: Sequence[Path]) -> None:
    """Write every page: what each study asked and what came out."""
    text = _templates().get_template("results.jinja").render(reports=reports, brief=brief)
    for page in pages:
        page.write_text(text, encoding="utf-8")


def brief(report: Report) -> tuple[list[list[str]], str]:
    """A study's main table in a few columns, names first, and the scores of real text and n-gram
    models as a line. The main table of a branch study has its contrasts, a column for each stage.
    """
    sections = {section.key: section for section in report.sections}
    key = next(key for key in BRIEF if key in sections)
    columns, named = list(sections[key].columns), BRIEF[key]
    places = [columns.index(name) for name in named]
    rows = [[row[place] for place in places] for row in sections[key].rows]
    board = sections["leaderboard"]
    variant, score, seeds = (board.columns.index(name) for name in ("variant", "score", "seeds"))
    floors = [f"{row[variant]} {row[score]}" for row in board.rows if not row[seeds]]
    if key == "branches":
        return by_stage(rows), ", ".join(floors)
    return [list(named), *rows[: len(rows) - len(floors)]], ", ".join(floors)


def by_stage(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Contrasts of a branch study (contrast, difference, interval, verdict): a row for each two
    choices, a column for each stage.
    """
    cells: dict[str, dict[str, str]] = {}
    stages: dict[str, None] = {}
    for label, value, interval, verdict in rows:
        found = STAGED.fullmatch(label)
        if found is None:
            raise ValueError(f"{label!r} is not a contrast of two choices after one stage")
        level, stage, reference = found.groups()
        stages[stage] = None
        cells.setdefault(f"{level} - {reference}", {})[stage] = f"{value} ({interval}), {verdict}"
    heads = [f"after {stage}" for stage in stages]
    body = [[name, *(by.get(stage, "") for stage in stages)] for name, by in cells.items()]
    return [["difference", *heads], *body]


def study_page(key: str, report: Report) -> str:
    """All of a study. A comment marks each figure's place, and docs/hooks.py replaces it."""
    return _templates().get_template("study.jinja").render(key=key, report=report)


def read_sweeps(file: Path) -> dict[str, Sweep]:
    """The sweeps that `textgan sweep --json` wrote, by run; InputError for any other file."""
    try:
        return TypeAdapter(dict[str, Sweep]).validate_json(read_bounded(file, LARGEST))
    except ValidationError as error:
        raise InputError(f"{file}: no sweeps: {first_fault(error)}") from None


def sweep_section(sweeps: Sweeps) -> Section:
    """The sweeps of a study: each variant's area over its seeds, the figure, comparisons."""
    variants = by_variant(sweeps)
    areas = {name: [one.area for one in runs] for name, runs in variants.items()}
    known = any(point.bound is not None for one in sweeps.values() for point in one.points)
    bounds = ["lowest jsd_bound", "at"] if known else []
    rows = []
    for (name, found), over in zip(areas.items(), means([*areas.values()]), strict=True):
        sure = between(over.ends if len(found) > 1 else None)
        judged = _lowest_bound(variants[name]) if bounds else []
        rows.append([name, f"{over.value:.4f}", sure, *judged, str(len(found))])
    return Section(
        "temperature",
        ("variant", "area", "95% interval", *bounds, "seeds"),
        rows,
        {"temperature": lambda: sweep_figure(sweeps)},
        _sweep_findings(areas),
    )


def _lowest_bound(runs: Sequence[Sweep]) -> list[str]:
    """The lowest mean bound over the runs and its temperature; empty cells if it is unknown."""
    means_at = []
    for found in zip(*(one.points for one in runs), strict=True):
        bounds = [each.bound for each in found if each.bound is not None]
        if len(bounds) == len(runs):
            means_at.append((math.fsum(bounds) / len(bounds), found[0].temperature or 0.0))
    lowest, temperature = min(means_at, default=(math.nan, math.nan))
    return [f"{lowest:.4f}", f"{temperature:g}"] if means_at else ["", ""]


def _sweep_findings(areas: Mapping[str, Sequence[float]]) -> list[str]:
    """The largest area against each other, adjusted (Holm) for all pairs: the largest was picked
    after seeing them.
    """
    ranked = sorted(areas, key=lambda name: -float(np.mean(areas[name])))
    table = padded([areas[name] for name in ranked])
    rows = summarize(table, np.zeros(table.shape, dtype=bool))
    pairs = {
        pair: difference(
            rows, {pair[0]: 1.0, pair[1]: -1.0}, min(len(areas[ranked[i]]) for i in pair)
        )
        for pair in itertools.combinations(range(len(ranked)), 2)
    }
    adjusted = dict(zip(pairs, holm([each.p for each in pairs.values()]), strict=True))
    said = []
    for (first, other), found in pairs.items():
        if first:
            continue
        text = contrast(ranked[0], ranked[other], found, higher_is_better=True)
        if found.p <= LEVEL < adjusted[first, other]:
            text += f" Not significant after the adjustment for {count(len(pairs), 'pair')}."
        said.append(f"Area over temperature: {text}")
    return said


def _swept(summaries: Path, study: str) -> Section | None:
    """The sweeps of the study's runs, if there are any; InputError for a bad file."""
    file = summaries / SWEEPS / f"{study}.json"
    return sweep_section(read_sweeps(file)) if file.exists() else None


def with_sweeps(report: Report, swept: Section) -> Report:
    """The report with the sweeps of its runs before its last section."""
    return replace(
        report,
        sections=[*report.sections[:-1], swept, report.sections[-1]],
        findings=[*report.findings, *swept.findings],
        headline=[*report.headline, *swept.findings[:1]],
    )


def model_card(summaries: Path) -> str:
    """The card of the first row of study BEST, next to the sweeps of its runs."""
    with tempfile.TemporaryDirectory() as folder:
        return _card(load(summaries / f"{BEST}.json", Path(folder)), _swept(summaries, BEST))


def _card(reading: Reading, swept: Section | None) -> str:
    board, tracker = reading.board, reading.tracker
    best, runs = board.rows[0], reading.runs_of(board.rows[0])
    definition = tracker.artifact(board.parent_run_id, "study.json").read_text(encoding="utf-8")
    study = from_definition(definition, registry())
    variant = next(each for each in study.variants if each.name == best.variant)
    seed, run_id = min(best.seed_runs.items())
    return _templates().get_template("model_card.jinja").render(
        name=best.variant,
        summary=BEST,
        study=board.study,
        question=reading.table.question,
        rows=len(board.rows),
        seeds=best.seeds,
        metric=board.metric,
        command=current_text(tracker.run(board.parent_run_id).tags.get("command", "")),
        source=variant.config.corpus.source,
        fingerprint=next((run.tags["corpus"][:16] for run in runs if "corpus" in run.tags), ""),
        numbers=_card_numbers(reading, best),
        drawn=variant.config.evaluation.sentences,
        seed=seed,
        sentences=[each["text"] for each in last_samples(tracker, run_id)],
        settings=variant.config.model_copy(update={"seed": seed}).toml(),
        apart=findings(board)[1:],
        swept=swept,
        pictures=PICTURES,
    )  # fmt: skip


def _card_numbers(reading: Reading, row: Row) -> list[list[str]]:
    """A row for each metric: the variant with its interval, real text, which way is better."""
    runs = [run.metrics for run in reading.runs_of(row)]
    rows = []
    for name in CARD_METRICS:
        values = [found[f"test/{name}"] for found in runs if f"test/{name}" in found]
        if not values:
            continue
        (found,) = means([values])
        real = [each[f"real/{name}"] for each in runs if f"real/{name}" in each]
        direction = METRICS[name].better
        better = direction if direction in ("higher", "lower") else "near real text"
        better = "" if name in UNEQUAL else better
        sure = between(found.ends if len(values) > 1 else None)
        shown = f"{np.mean(real):.4f}" if real else ""
        rows.append([name, f"{found.value:.4f}", sure, shown, better])
    return rows


class Number(Frozen):
    """A number of a paper, and where to find ours."""

    paper: str
    system: str
    published: float
    study: str  # a summary's name
    row: str  # a variant of it, or REAL
    metric: str
    why: str


class Numbers(Frozen):
    """The file."""

    number: list[Number]


def reproduction(summaries: Path) -> str:
    """The table of published numbers and ours; InputError for a bad file."""
    file = summaries / PUBLISHED
    numbers = checked(Numbers, read_toml(file), str(file)).number
    with tempfile.TemporaryDirectory() as folder:
        read = {
            name: load(summaries / f"{name}.json", Path(folder) / name)
            for name in {each.study for each in numbers}
            if (summaries / f"{name}.json").exists()
        }
    rows = [_reproduced(each, _values(each, read.get(each.study))) for each in numbers]
    return _templates().get_template("reproduction.jinja").render(rows=rows)


def _values(number: Number, reading: Reading | None) -> list[float]:
    """Ours, one per seed; none if the study did not run, or has no such row."""
    if reading is None:
        return []
    rows = [row for row in reading.board.rows if number.row in (row.variant, REAL)]
    wanted = {run_id for row in rows for run_id in row.seed_runs.values()}
    key = f"{'real' if number.row == REAL else 'test'}/{number.metric}"
    return [r.metrics[key] for r in reading.seeds if r.run_id in wanted and key in r.metrics]


def _reproduced(number: Number, values: Sequence[float]) -> list[str]:
    head = [number.paper, number.system, number.metric, f"{number.published:.3f}"]
    if not values:
        return [*head, "not run", "", number.why]
    (ours,) = means([values])
    if number.row == REAL:
        sure = "the held-out text of every run"
    elif len(values) == 1:
        sure = between(None)
    else:
        sure = f"{between(ours.ends, digits=3)}, {count(len(values), 'run')}"
    difference = f"{ours.value - number.published:+.3f}"
    return [*head, f"{ours.value:.3f} ({sure})", difference, number.why]


if __name__ == "__main__":
    main()
