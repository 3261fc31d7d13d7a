"""The report of a study, and what is published with it: the aggregates of its variants.

The report is a function of the store. When published, it is an artifact of the study's own run, and
the variants' runs hold their aggregates, which make the run table of the UI the leaderboard.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt
from markupsafe import Markup

from core.config.renamed import current_study, current_tables, current_text
from core.errors import InputError, listed
from core.metrics.catalogue import metric_info
from core.plural import count
from core.tracking.protocol import NOTE, Tracker, study_run
from core.tracking.rendering import plain
from studies.analysis.contrasts import against_first, with_contrasts
from studies.analysis.corpora import joint, leaderboards, ranks_of
from studies.analysis.curves import curves
from studies.analysis.laboratory import missed
from studies.analysis.plane import plane
from studies.analysis.power import power
from studies.analysis.ranking import (
    caveats,
    equivalent,
    failed,
    outcomes,
    ranking,
    unfinished,
    why_adjusted,
)
from studies.analysis.runs import cost, counted_apart, failures, reproduce, samples
from studies.analysis.search import keeps_constraints, ranked_trials
from studies.analysis.selection import rule_results, which_checkpoint
from studies.figures import FORMATS, data_of, draw, inline, save
from studies.kinds import find_kind
from studies.leaderboard import CORPORA, Leaderboard, Row, leaderboard, variant_runs
from studies.ratings import people
from studies.sections import Reading, Section, frame_of, latex, means, number, scored
from studies.tuning import TuningTable
from studies.views import (
    COLUMNS,
    curves_view,
    leaderboard_view,
    publish_real_text,
    rounded,
    split_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HTML, MARKDOWN, FIGURES, TABLES = "report.html", "report.md", "figures", "tables"
DATA = ["panel", "mark", "kind", "label", "x", "y"]  # columns of a figure's data
SHOWN = ("png",)  # formats of figures that the UI shows and the text links
RULE = "\n\n---\n\n"  # in a study's description: links above, definition below
MANY_FINDINGS = 12


@dataclass(frozen=True)
class Report:
    """Everything that a page shows."""

    title: str
    question: str
    facts: Mapping[str, str]  # what ran
    findings: Sequence[str]  # Markdown sentences
    headline: Sequence[str]  # the first few of them, for a list of studies
    sections: Sequence[Section]

    @cached_property
    def figures(self) -> dict[str, dict[str, Figure]]:
        """Section key -> name -> figure; each drawn once."""
        return {
            section.key: {name: draw(maker) for name, maker in section.figures.items()}
            for section in self.sections
        }

    def html(self) -> str:
        """One self-contained page. Sentences of a corpus are text in it, never markup."""
        templates = environment()
        prose = MarkdownIt("commonmark", {"html": False}).enable("table")
        templates.filters["prose"] = lambda text: Markup(prose.render(text))  # noqa: S704
        drawings = {
            key: [inline(figure, f"{key}-{name}", name) for name, figure in made.items()]
            for key, made in self.figures.items()
        }
        return templates.get_template(HTML).render(report=self, drawings=drawings)

    def markdown(self) -> str:
        """The same as text, with figures as PNG files in a folder."""
        return environment().get_template(MARKDOWN).render(report=self, folder=FIGURES)

    def write(self, folder: Path, formats: Sequence[str] = FORMATS) -> None:
        """Page, text and figures in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / HTML).write_text(self.html(), encoding="utf-8")
        (folder / MARKDOWN).write_text(self.markdown(), encoding="utf-8")
        self.write_figures(folder / FIGURES, formats)
        self.write_tables(folder)

    def write_tables(self, folder: Path) -> None:
        """Every table as LaTeX and as CSV, and what each figure shows as CSV."""
        for name in (TABLES, FIGURES):
            (folder / name).mkdir(exist_ok=True)
        for section in (each for each in self.sections if each.rows):
            file = folder / TABLES / f"{section.key}.tex"
            file.write_text(latex(section.columns, section.rows), encoding="utf-8")
            frame_of(section).to_csv(file.with_suffix(".csv"), index=False)
        for made in self.figures.values():
            for name, figure in made.items():
                if found := data_of(figure):
                    data = pd.DataFrame(found, columns=DATA)
                    data.to_csv(folder / FIGURES / f"{name}.csv", index=False)

    def write_figures(self, folder: Path, formats: Sequence[str] = FORMATS) -> None:
        """Every figure in `folder`."""
        for made in self.figures.values():
            for name, figure in made.items():
                save(figure, folder, name, formats)


def environment() -> Environment:
    """The templates, with the filters that quote text."""
    made = Environment(
        loader=PackageLoader("studies"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["cell"] = _markdown_cell
    made.filters["plain"] = plain
    return made


def _markdown_cell(text: str) -> str:
    """A table cell in Markdown: one line, no bars, no tags."""
    line = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return line.replace("&", "&amp;").replace("<", "&lt;").replace("`", "\\`")


def read(tracker: Tracker, study: str) -> Reading:
    """Read a study from the store, under today's names; InputError for an unknown one."""
    parent = study_run(tracker, study)
    board = leaderboard(tracker, study)
    file = tracker.artifact(parent.run_id, "study.json")
    given = current_tables(json.loads(file.read_text(encoding="utf-8")))["study"]
    given["question"] = current_text(given.get("question", ""))
    kind = find_kind(given.get("kind", "ablation"))
    return Reading(tracker, parent, board, kind.Table(**{"name": study, **given}))


def sections(reading: Reading) -> list[Section]:
    """Every section of the study's kind; none if no run has ended."""
    return [*find_kind(reading.table.kind).sections(reading)] if reading.board.rows else []


def on_corpora(reading: Reading) -> dict[str, Reading]:
    """The study of each corpus that was begun and is not deleted; none of an ordinary study."""
    found: dict[str, Reading] = {}
    if not reading.table.corpora:
        return found
    own = reading.parent.tags.get(CORPORA, "{}")
    for corpus, study in json.loads(own).items():
        with contextlib.suppress(InputError):
            found[corpus] = read(reading.tracker, study)
    return found


def check_has_rows(reading: Reading) -> None:
    """InputError for a study on several corpora, which has no rows itself."""
    if reading.table.corpora:
        own = listed([each.board.study for each in on_corpora(reading).values()], "none yet")
        raise InputError(
            f"study {reading.board.study!r} is on several corpora; give the study of one: {own}"
        )


def document(reading: Reading) -> dict[str, Any]:
    """For `--json`: leaderboard, contrasts and results of rules; of several corpora those of each,
    and ranks.
    """
    board, readings = reading.board, on_corpora(reading)
    if not reading.table.corpora:
        rules = [asdict(each) for each in rule_results(reading)]
        tuned = isinstance(reading.table, TuningTable)
        trials = {"trials": ranked_trials(reading)} if tuned else {}
        effects = find_kind(reading.table.kind).effects(reading)
        return {**with_contrasts(board, effects), "selection": rules, **trials}
    boards = {corpus: each.board for corpus, each in readings.items()}
    ranks = ranks_of(boards)
    return {
        "study": board.study,
        "parent_run_id": board.parent_run_id,
        "metric": board.metric,
        "runs": sum(each.runs for each in boards.values()),
        "failed": sum(each.failed for each in boards.values()),
        "corpora": {corpus: document(each) for corpus, each in readings.items()},
        "ranks": ranks and ranks.document(),
    }


def build(reading: Reading) -> Report:
    """The report: leaderboard, sections of the kind of study, and sections of every study."""
    if reading.table.corpora:
        return _build_on_corpora(reading, on_corpora(reading))
    first, own = ranking(reading), sections(reading)
    every = (which_checkpoint, power, people, plane, curves, samples, failures, cost)
    found = [first, *own, *(s for make in every for s in make(reading)), reproduce(reading)]
    answers = [each for section in own for each in section.answers]
    # All pairs of rows, unless some were named beforehand, only repeat the leaderboard at length.
    every_pair = not reading.table.contrasts and own and own[0].key in ("pairs", "finalists")
    leading = [] if every_pair else own[:1]
    of_kind = [each for section in leading for each in section.findings[:1]]
    score, *verdicts = [each for each in first.findings if each != why_adjusted(reading.board)]
    if of_kind:
        verdicts = [each for each in equivalent(reading.board) if each in verdicts]
    headline = [*(answers or [score, *verdicts, *of_kind]), *unfinished(reading)]
    said = [sentence for section in found for sentence in section.findings]
    findings = _each_once([*answers, *said])
    return Report(
        current_study(reading.board.study),
        reading.table.question,
        _facts(reading),
        [*unfinished(reading), *findings[:MANY_FINDINGS], *caveats(reading), *missed(reading)],
        headline,
        found,
    )


def _build_on_corpora(reading: Reading, readings: Mapping[str, Reading]) -> Report:
    """The report about several corpora; each has a full one of its own."""
    found = [*joint(readings), *leaderboards(readings), reproduce(reading)]
    missing = [each.name for each in reading.table.corpora if each.name not in readings]
    said = [f"Corpus `{name}` has no study: it was not begun, or deleted." for name in missing]
    said += [sentence for section in found for sentence in section.findings]
    facts = {**_facts(reading), "runs": count(sum(e.board.runs for e in readings.values()), "run")}
    facts["data"] = ", ".join(each.name for each in reading.table.corpora)
    return Report(reading.board.study, reading.table.question, facts, said, said[:1], found)


def _each_once(findings: Sequence[str]) -> list[str]:
    """Without sentences that an earlier one begins with: two sections may have one contrast."""
    return [
        sentence for place, sentence in enumerate(findings)
        if not any(earlier.startswith(sentence.rstrip(".")) for earlier in findings[:place])
    ]  # fmt: skip


def upload(tracker: Tracker, board: Leaderboard, folder: Path) -> None:
    """What the UI shows of the report in `folder`, as artifacts of the study's run. Nothing else in
    the store changes: a report may be made while the study runs, or long after.
    """
    others = [f"*.{each}" for each in FORMATS if each not in SHOWN]
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary) / "report"
        shutil.copytree(folder, made, ignore=shutil.ignore_patterns(*others))
        tracker.upload(board.parent_run_id, made)


def publish(tracker: Tracker, study: str) -> tuple[Leaderboard, str]:
    """Log a study's aggregates and report at its end; the leaderboard and a link to it. InputError
    for an unknown study.
    """
    reading = read(tracker, study)
    board = reading.board
    study = board.study
    tracker.describe_experiment(study, plain(reading.table.question))
    link = leaderboard_view(reading)
    verdicts = {name: effect.shown for name, effect in against_first(board).items()}
    for rank, row in enumerate(board.rows, start=1):
        _publish_variant(reading, row, rank, link, verdicts.get(row.variant, ""))
    publish_real_text(reading)
    ranked = {row.variant for row in board.rows}
    for variant, own in variant_runs(tracker, study).items():
        if variant not in ranked and own.status == "RUNNING" and not own.deleted:
            tracker.continue_run(own.run_id).finish("killed", "none of its runs has ended so far")
    report = build(reading)
    about = tracker.run(board.parent_run_id).tags.get(NOTE, "")
    parent = tracker.continue_run(board.parent_run_id)
    with tempfile.TemporaryDirectory() as temporary:
        report.write(made := Path(temporary) / "report", SHOWN)
        parent.log_files(made)
    page = tracker.link(study, board.parent_run_id, HTML)
    pages = {corpus: tracker.link(each.board.study, each.board.parent_run_id, HTML)
             for corpus, each in on_corpora(reading).items()}  # fmt: skip
    if not pages:
        sentences = tracker.sentences_link(study, board.metric, not board.higher_is_better)
        pages = {"leaderboard": link, "curves": curves_view(reading),
                 "samples of all runs": sentences}  # fmt: skip
    pages = {"report": page, **pages}
    links = " · ".join(f"[{title}]({to})" for title, to in pages.items())
    said = "\n".join(f"- {sentence}" for sentence in report.findings)
    parent.describe(f"{links}\n\n{said}{RULE}{about.rpartition(RULE)[2]}")
    parent.finish("ok")
    return board, page if reading.table.corpora else link


def register(reading: Reading, name: str) -> tuple[str, str]:
    """Register the model of the best row that keeps the study's constraints, of its best seed; the
    run and the version.

    InputError if there is no such row, or none of its runs ended well.
    """
    tracker, board = reading.tracker, reading.board
    kept = [row for row in board.rows if keeps_constraints(reading, row)]
    runs = {run.run_id: run for run in tracker.runs(board.study, tags={"level": "seed"})}
    good = [
        (runs[run_id].metrics[board.metric], seed, run_id)
        for row in kept[:1]
        for seed, run_id in row.seed_runs.items()
        if runs[run_id].outcome == "ok" and board.metric in runs[run_id].metrics
    ]
    why = "" if good else "no run of its best variant ended well"
    why = "no row keeps its constraints" if board.rows and not kept else why
    why = why if board.ranked else f"`{board.metric}` cannot rank it"
    if why:
        raise InputError(f"study {board.study!r}: {why}, so it has no model to register")
    best = kept[0]
    constrained = " that keep the constraints" if len(kept) < len(board.rows) else ""
    score, seed, run_id = (max if board.higher_is_better else min)(good, key=lambda each: each[0])
    about = (
        f"`{best.variant}`, the best of {count(len(kept), 'variant')}{constrained} of study "
        f"{board.study}: {scored(best)} on `{board.metric}` (n = {count(best.seeds, 'seed')}). "
        f"The weights are those of its best seed, {seed}, with {number(score)}; expect the score "
        f"of the variant, not of this seed."
    )
    tags = {"study": board.study, "variant": best.variant, "seed": str(seed)}
    return run_id, tracker.register(run_id, name, about, tags)


def _publish_variant(reading: Reading, row: Row, rank: int, leaderboard: str, verdict: str) -> None:
    tracker, board = reading.tracker, reading.board
    if row.run_id is None:
        return
    record = tracker.continue_run(row.run_id)
    rate = len(row.failed) / row.seeds
    numbers = (row.score, *(row.interval or (None, None)), rate, row.survivors)
    known = {key: x for key, x in zip(COLUMNS, numbers, strict=True) if x is not None}
    # The step counts ended runs, because a run keeps what it has at a step.
    ended = sum(each.seeds for each in board.rows)
    known |= means(reading.runs_of(row), split_of(board.metric))
    record.log_metrics(rounded(known), ended)
    tags = {"outcomes": outcomes(row), "failures": failed(row), "verdict": verdict or "none"}
    record.set_tags({**tags, "rank": f"{rank:03d}" if board.ranked else "none"})
    seeds = " · ".join(
        f"[seed {seed}]({tracker.link(board.study, run)})" for seed, run in row.seed_runs.items()
    )
    report = tracker.link(board.study, board.parent_run_id, HTML)
    place = f"Rank {rank} of" if board.ranked else "One of"
    against = f" Against rank 1: {verdict}." if verdict else ""
    record.describe(
        f"{place} {count(len(board.rows), 'variant')} on `{board.metric}`: "
        f"{scored(row)} (n = {count(row.seeds, 'seed')}: {outcomes(row)}).{against}"
        f"\n\n[Report]({report}) · [leaderboard]({leaderboard}) · {seeds}"
    )
    record.finish("ok")


def _facts(reading: Reading) -> Mapping[str, str]:
    board, table, trials = reading.board, reading.table, len(reading.trials)
    info = metric_info(board.metric)
    runs = f"{count(len(board.rows), 'variant')}, {count(board.runs, 'run')}"
    timed = table.budget and (table.budget.seconds or table.budget.cpu_seconds)
    older = ", including evaluations" if timed and not counted_apart(reading.seeds) else ""
    sources = {r.params["corpus.source"] for r in reading.seeds if "corpus.source" in r.params}
    return {
        "kind": table.kind,
        "runs": f"{runs} and {count(trials, 'trial')}" if trials else runs,
        "score": f"{board.metric}, {info.direction} is better: {info.summary}",
        **({"budget": f"{table.spent} per run{older}"} if table.budget else {}),
        "data": ", ".join(sorted(sources)) or "unknown",
    }
