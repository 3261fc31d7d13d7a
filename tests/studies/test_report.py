"""The report: what it holds, that it needs nothing else, and that text stays text."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from core.errors import InputError
from core.tracking.memory import MemoryTracker
from core.tracking.protocol import study_run
from core.tracking.rendering import Sample
from studies.analysis.plane import plane
from studies.analysis.ranking import ranking, under_way
from studies.figures import (
    PAPER,
    VARIABLES,
    data_of,
    draw,
)
from studies.leaderboard import leaderboard
from studies.plan import Limit
from studies.report import build, publish, read, register, upload
from studies.running.execute import begin, to_record, work
from studies.running.queue import load_queue, progress
from studies.running.storage import storage_url
from studies.sections import frame_of
from studies.views import split_of
from tests.studies.test_findings import board_of
from tests.studies.test_studies import NAME, FakeTraining, collapses, plan, start
from tests.studies.test_tables import parsed
from variants import registry

EVIL = "<script>alert(1)</script> & $x$ | `y`"


FEW = ('study.axes.next_input=["noise"]', "study.seeds=2")  # 4 variants


class Page(HTMLParser):
    """Tags, and what their addresses point to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("href", "src", "xlink:href")]
        self.ids += [v or "" for k, v in attrs if k == "id" and tag == "section"]


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> MemoryTracker:
    """A study of 4 variants with 2 seeds; one variant collapses, sentences are hostile."""
    collapse = collapses("noise · detached · full")
    tracker, _ = start(tmp_path_factory.mktemp("store"), plan(*FEW), collapse)
    for run in tracker.runs(NAME, tags={"level": "seed"}):
        record = tracker.continue_run(run.run_id)
        record.log_metrics({"eval/ms_jaccard_2": 0.0, "eval/bleu_4": 0.2, "real/bleu_4": 0.4}, 0)
        record.log_metrics({"eval/self_bleu_4": 0.7, "real/self_bleu_4": 0.3}, 1)
        record.set_tags(
            {"seconds": "2.0", "evaluating": "1.0", "updates": "20", "device": "cpu (x)"}
        )
        record.log_samples([Sample(0, 0, "the road"), Sample(1, 0, EVIL), Sample(1, 1, "")])
        record.status = "FINISHED"
    return tracker


@pytest.fixture(scope="module")
def page(tracker: MemoryTracker) -> str:
    return build(read(tracker, NAME)).html()


@pytest.mark.slow
@pytest.mark.usefixtures("figure_files")
def test_the_page_holds_every_section_and_needs_no_other_file(
    tracker: MemoryTracker, tmp_path: Path
) -> None:
    build(reading := read(tracker, NAME)).write(tmp_path / "out")
    upload(tracker, reading.board, tmp_path / "out")
    parent = tracker.run(reading.board.parent_run_id)
    assert tracker.artifact(parent.run_id, "figures/curves.png").stat().st_size > 5000
    assert not [*tracker.artifact(parent.run_id, "figures").glob("*.pdf")]
    assert parent.status == "RUNNING", "it did not end"
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert page.ids == ["leaderboard", "effects", "interactions", "power", "plane", "curves",
                        "sentences", "training", "failures", "cost", "again"]  # fmt: skip
    assert all(address.startswith("#") for address in page.addresses), page.addresses
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert page.tags.count("svg") == 6
    names = {file.name for file in (tmp_path / "out" / "figures").iterdir()}
    figures = ("leaderboard", "effects", "interactions", "profile", "quality_diversity", "curves")
    assert names == {f"{name}.{end}" for name in figures for end in ("png", "svg", "pdf", "csv")}
    tables = {file.name for file in (tmp_path / "out" / "tables").iterdir()}
    with_rows = [each for each in build(reading).sections if each.rows]
    assert tables == {f"{each.key}.{end}" for each in with_rows for end in ("tex", "csv")}
    for section in with_rows:
        written = (tmp_path / "out" / "tables" / f"{section.key}.tex").read_text(encoding="utf-8")
        head = [section.columns] if any(section.columns) else []
        assert parsed(written) == [[" ".join(cell.split()) for cell in row]
                                   for row in (*head, *section.rows)]  # fmt: skip
        with (tmp_path / "out" / "tables" / f"{section.key}.csv").open(encoding="utf-8") as file:
            frame = frame_of(section)
            assert [*csv.reader(file)] == [[*frame], *frame.to_numpy().tolist()]
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    for place in re.findall(r"!\[.*\]\((.*)\)", text):
        assert (tmp_path / "out" / place).stat().st_size > 5000


def test_a_sentence_of_the_corpus_stays_text(tracker: MemoryTracker, page: str) -> None:
    text = build(read(tracker, NAME)).markdown()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; $x$ | `y`" in page
    assert "<script" not in text
    assert "(empty)" in page
    (line,) = (x for x in text.splitlines() if x.startswith("| #0 |") and x.count("alert") == 4)
    assert len(re.findall(r"(?<!\\)\|", line)) == 6, "a bar in a sentence opens no column"


def test_the_question_of_a_study_stays_text(tmp_path: Path) -> None:
    tracker, _ = start(tmp_path, plan(*FEW, f"study.question={EVIL}"), FakeTraining())
    parent = next(run for run in tracker.runs(NAME) if run.tags["level"] == "study")
    for text in (parent.tags["mlflow.note.content"], build(read(tracker, NAME)).markdown()):
        assert "<script" not in text
        assert "&lt;script&gt;" in text


def test_figures_follow_light_and_dark(page: str) -> None:
    drawings = page[page.index("<svg") : page.rindex("</svg>")]
    assert "var(--ink)" in drawings
    assert "var(--blue)" in drawings
    left = {c.lower() for c in re.findall(r"#[0-9a-fA-F]{6}\b", drawings)}
    assert not left & (set(VARIABLES) - {PAPER}), "every colour of ours is a variable"
    style = page[: page.index("</style>")]
    for name in VARIABLES.values():
        assert style.count(f"--{name}:") == 3, "light, dark and print"


def test_the_same_store_gives_the_same_report(tracker: MemoryTracker, page: str) -> None:
    assert build(read(tracker, NAME)).html() == page


@pytest.mark.slow
def test_a_published_study_carries_its_report(tracker: MemoryTracker) -> None:
    board, link = publish(tracker, NAME)
    parent = tracker.run(board.parent_run_id)
    assert tracker.artifact(board.parent_run_id, "report.html").stat().st_size > 50_000
    about = parent.tags["mlflow.note.content"]
    assert "report.html" in about
    assert link in about
    assert "has the highest score" in about
    assert "Command: `textgan study x.toml`" in about
    publish(tracker, NAME)
    assert tracker.run(board.parent_run_id).tags["mlflow.note.content"] == about
    variant = tracker.run(board.rows[0].run_id)
    assert variant.tags["rank"] == "001"
    assert "Rank 1 of 4 variants" in variant.tags["mlflow.note.content"]
    assert variant.metrics["score"] == pytest.approx(board.rows[0].score, rel=1e-3)
    assert all(value == float(f"{value:.4g}") for value in variant.metrics.values())
    (real,) = tracker.runs(NAME, tags={"level": "baseline"})  # however often it is published
    assert real.metrics["score"] == board.baselines["real"]
    assert real.metrics[board.metric] == board.baselines["real"]
    assert {run.tags["rank"] for run in tracker.runs(NAME) if "rank" in run.tags} == {
        "real text", "001", "002", "003", "004",
    }  # fmt: skip


@pytest.mark.slow
def test_aggregates_follow_when_runs_are_added(tmp_path: Path) -> None:
    tracker, _ = start(tmp_path, plan(*FEW), FakeTraining())
    publish(tracker, NAME)
    (variant,) = tracker.runs(NAME, tags={"level": "variant", "rank": "001"})
    extra = tracker.start_run(
        NAME, "seed 9", params={}, parent_id=variant.run_id,
        tags={"level": "seed", "variant": variant.name, "seed": "9", "study": NAME},
    )  # fmt: skip
    extra.log_metrics({"eval/ms_jaccard_2": 0.9, "real/ms_jaccard_2": 0.1}, 1)
    extra.finish("ok")
    board, _ = publish(tracker, NAME)
    (real,) = tracker.runs(NAME, tags={"level": "baseline"})
    assert real.metrics["score"] == pytest.approx(board.baselines["real"], rel=1e-3)
    score = tracker.run(variant.run_id).metrics["score"]
    assert score == pytest.approx(board.rows[0].score, rel=1e-3)


@pytest.mark.parametrize(
    ("tags", "budget", "cost"),
    [
        (
            {},
            "30 CPU seconds per run, including evaluations",
            "took 12 s of training with evaluations",
        ),
        (
            {"evaluating": "2.0"},
            "30 CPU seconds per run",
            "took 12 s of training and 8 s of evaluations",
        ),
    ],
)
def test_seconds_say_whether_evaluations_are_in_them(
    tags: dict[str, str], budget: str, cost: str, tmp_path: Path
) -> None:
    """Runs of before their clocks were parted do not say how long they were evaluated."""
    study = plan("study.axes.next_input=['noise']", "study.seeds=1", "study.budget.cpu_seconds=30")
    tracker, _ = start(tmp_path, study, FakeTraining())
    for run in tracker.runs(NAME, tags={"level": "seed"}):
        record = tracker.continue_run(run.run_id)
        record.set_tags({"seconds": "3.0", "updates": "20", **tags})
        record.finish("ok")
    report = build(read(tracker, NAME))
    assert report.facts["budget"] == budget
    (section,) = (each for each in report.sections if each.key == "cost")
    assert cost in section.explanation
    assert section.rows[0][-1] == (tags.get("evaluating") or "included")


def test_a_study_without_results_says_so(tmp_path: Path) -> None:
    everything_breaks = FakeTraining(breaks=lambda *_: RuntimeError("boom"))
    tracker, _ = start(tmp_path, plan(*FEW, "study.seeds=1"), everything_breaks)
    report = build(read(tracker, NAME))
    assert report.findings[0] == "No run has a result: there is nothing to conclude."
    page = report.html()
    assert "boom" in page
    assert page.count('<td class="brief">failed</td>') == 4


def test_a_study_under_way_says_so_first(tracker: MemoryTracker, tmp_path: Path) -> None:
    assert not any("planned" in sentence for sentence in build(read(tracker, NAME)).findings)
    second_breaks = FakeTraining(breaks=lambda _, seed: RuntimeError("boom") if seed else None)
    under_way, _ = start(tmp_path, plan(*FEW), second_breaks)
    first = build(read(under_way, NAME)).findings[0]
    assert first == "4 of 8 planned runs have a result so far; conclusions may change."


def test_all_that_a_report_says_of_ended_runs_is_of_one_reading(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    url = storage_url(tracker)
    study, training = plan(*FEW), FakeTraining()
    begin(study, NAME, tracker, url, "", Limit(trials=1))
    log = to_record(tracker.continue_run(study_run(tracker, NAME).run_id), 1)
    log(progress(load_queue(NAME, url), study.table))
    reading = read(tracker, NAME)
    work(NAME, tracker, url, training, registry())
    no_result, one_result = "No run has a result", "1 of 8 planned runs have a result"
    assert build(reading).findings[0].startswith(no_result)
    assert under_way(reading).startswith("0 of ")
    again = read(tracker, NAME)
    assert build(again).findings[0].startswith(one_result)
    assert under_way(again).startswith("1 of "), "though the study's run does not know it yet"
    log(progress(load_queue(NAME, url), study.table))
    assert under_way(read(tracker, NAME)) == under_way(again)
    assert under_way(reading).startswith("0 of ")


def test_all_columns_and_the_plane_are_of_the_split_of_the_score(tracker: MemoryTracker) -> None:
    reading = read(tracker, NAME)
    of_test = {"test/ms_jaccard_2": 0.5, "test/bleu_4": 0.9, "test/self_bleu_4": 0.4}
    seeds = [replace(run, metrics={**run.metrics, **of_test}) for run in reading.seeds]
    board = replace(reading.board, metric="test/ms_jaccard_2")
    tested = replace(reading, board=board)
    tested.__dict__["seeds"] = seeds
    bleus, valid, of_test_split = ("0.200", "0.700"), ("0.500", "0.700"), ("0.900", "0.400")
    for each, wanted, place in ((reading, bleus, valid), (tested, of_test_split, of_test_split)):
        found = ranking(each)
        assert found.columns[-2:] == ["bleu_4", "self_bleu_4"]
        assert {(*row[-2:],) for row in found.rows if row[0]} == {wanted}
        (drawn,) = next(plane(each)).figures.values()
        data = data_of(draw(drawn))
        assert place in {(f"{y:.3f}", f"{1 - x:.3f}") for *_, x, y in data}
        rows = {f"{row.variant}, {what}" for row in board.rows for what in ("runs", "mean")}
        assert {row[3] for row in data} - {"real text"} == rows
    assert split_of("eval_best/jsd") == "eval_best/"


def test_the_winner_is_registered_with_its_best_seed(
    tracker: MemoryTracker, tmp_path: Path
) -> None:
    (tmp_path / "weights").write_text("w")
    board = leaderboard(tracker, NAME)
    for run_id in board.rows[0].seed_runs.values():
        tracker.continue_run(run_id).log_model(tmp_path)
    reading = read(tracker, NAME)
    run_id, version = register(reading, "writer")
    best = board.rows[0]
    assert run_id == best.seed_runs[max(best.scores, key=lambda seed: best.scores[seed])]
    assert (version, len(tracker.registry["writer"])) == ("1", 1)
    assert register(reading, "writer")[1] == "2"
    with pytest.raises(InputError, match="ended well"):
        register(replace(reading, board=board_of({})), "writer")
