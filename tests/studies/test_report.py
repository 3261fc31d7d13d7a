"""The report: what its sentences claim, that it needs nothing else, and that text stays text."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import InputError
from core.statistics import Difference, Interval
from core.tracking.memory import MemoryTracker
from core.tracking.protocol import study_run
from core.tracking.rendering import Sample
from studies.analysis.contrasts import Effect, effects
from studies.analysis.curves import curves_figure, middle
from studies.analysis.effects import effects_figure
from studies.analysis.plane import plane, ranks
from studies.analysis.ranking import broken, findings, ranking, under_way
from studies.figures import (
    BLUE,
    PAPER,
    VARIABLES,
    _label_powers,
    band,
    canvas,
    data_of,
    draw,
    forest,
)
from studies.leaderboard import Leaderboard, Row, leaderboard
from studies.plan import Limit
from studies.report import _each_once, build, publish, read, register, upload
from studies.running.execute import begin, to_record, work
from studies.running.queue import load_queue, progress
from studies.running.storage import storage_url
from studies.sections import Section, between, bracket, contrast, frame_of, latex, names, number
from studies.table import Contrast
from studies.views import split_of
from tests.studies.test_studies import NAME, FakeTraining, collapses, plan, start
from variants import registry

EVIL = "<script>alert(1)</script> & $x$ | `y`"

UNCLEAR = "No significant difference between `a` and `b` (n = 15 pairs, interval [-.01, .07])."
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


LATEX = {r"\textbackslash": "\\", r"\textasciitilde": "~", r"\textasciicircum": "^",
         r"\textless": "<", r"\textgreater": ">", r"\textbar": "|"}  # fmt: skip
TOKEN = re.compile(
    r"(\\text[a-z]+)(?:\{\}| )|\\([&%$#_{}])|\$(-)\$|(\{\})|([^\\{}&%$#_~^<>|])|(&)|(\\\\)"
)


def parsed(text: str) -> list[list[str]]:
    """The cells of a table of booktabs, its columns first if they have names; fails where LaTeX
    would, or would show another character.
    """
    package, begin, top, *rows, bottom, end = text.splitlines()
    assert package == r"% \usepackage{booktabs}"
    narrow = re.sub(r"p\{0\.\d\d\\linewidth\}", "p", begin)
    aligned = re.fullmatch(r"\\begin\{tabular\}\{([lrp]+)\}", narrow)
    assert aligned
    assert (top, bottom, end) == (r"\toprule", r"\bottomrule", r"\end{tabular}")
    if r"\midrule" in rows:
        assert rows.pop(1) == r"\midrule"
    found = []
    for row in rows:
        cells, place = [""], 0
        assert not row.startswith(("[", "*")), "an option of the line before"
        while place < len(row):
            token = TOKEN.match(row, place)
            assert token, row[place:]
            name, escaped, minus, _, plain, cell, over = token.groups()
            cells[-1] += LATEX[name] if name else escaped or minus or plain or ""
            if cell:
                cells.append("")
            place = token.end()
            assert bool(over) == (place == len(row))
        assert len(cells) == len(aligned[1])
        found.append([cell.strip() for cell in cells])
    return found


def test_a_table_for_latex_shows_every_character() -> None:
    columns = ["a_b", "", "50% of $x$", ""]
    rows = [
        ["[.1, .2]", "-1.5", "< 0.001", "{a} & b | c"],
        ["* ~user^2", "2", "C:\\new #1", " two\n words \\"],
        ["été · Ω", "", "\\&", "\\alpha_1 > 0"],
    ]
    shown = [[" ".join(cell.split()) for cell in row] for row in (columns, *rows)]
    text = latex(columns, rows)
    assert parsed(text) == shown
    assert r"\begin{tabular}{lrll}" in text, "numbers at the right"
    assert "& $-$1.5 &" in text, "a minus, not a hyphen"


def test_long_texts_are_wrapped_in_latex_and_a_table_without_names_has_no_head() -> None:
    rows = [["#0", "a b " * 20, "-3"], ["#1", "c", "it is -.5 to -2, e-3 and a-1"]]
    text = latex(["", "after 0", "after 9"], rows)
    assert r"{lp{0.43\linewidth}p{0.43\linewidth}}" in text
    both = latex(["contrast", "difference"], [["a - b " * 20, "-0.0123"]])
    assert r"{p{0.82\linewidth}r}" in both, "room for the numbers"
    assert "{ll}" in latex(["", "reason"], [["#0", "a" * 30]])
    assert "it is $-$.5 to $-$2, e-3 and a-1" in text
    assert latex(["", "", ""], rows).count("rule\n") == 2
    assert parsed(latex(["", "", ""], rows)) == [[" ".join(c.split()) for c in row] for row in rows]


def test_pandas_reads_the_numbers_of_a_table(tmp_path: Path) -> None:
    rows = [["a", "-", "-", "-"], ["b", "-0.25", "c", "0.1 (0.0 to 0.2)"]]
    section = Section("x", ["name", "score", "text", "interval"], rows)
    assert "{lrlr}" in latex(section.columns, rows), "the same columns are of numbers in LaTeX"
    frame_of(section).to_csv(tmp_path / "x.csv", index=False)
    found = pd.read_csv(tmp_path / "x.csv")
    assert found["score"].isna().to_list() == [True, False]
    assert found["interval"].isna().to_list() == [True, False]
    assert found["score"][1] == -0.25
    assert found["text"].to_list() == ["-", "c"], "a sentence is not a number"


def test_the_data_of_a_figure_are_what_it_shows() -> None:
    drawing, axis = forest(["first", "second"], [1.0, 2.0], [(0.5, 1.5), None], [BLUE, BLUE])
    axis.axvline(0)  # shows no data
    axis.barh(0, 3.0)
    assert data_of(drawing) == [
        ("", 1, "line", "", 2.0, "second"),
        ("", 2, "line", "", 0.5, "first"),
        ("", 2, "line", "", 1.5, "first"),
        ("", 3, "line", "", 1.0, "first"),
        ("", 4, "bar", "", 3.0, "second"),
    ]
    drawing, axis = canvas(4, 3)
    band(axis, [0, 1], [Interval(1.0, 0.5, 1.5), Interval(2.0, 1.5, 2.5)], "both")
    axis.set_title("a\npanel", loc="left")
    found = data_of(drawing)
    assert found[:2] == [("a panel", 1, "line", "both", x, x + 1.0) for x in (0.0, 1.0)]
    assert {(0.0, 0.5), (0.0, 1.5), (1.0, 1.5), (1.0, 2.5)} == {row[4:] for row in found[2:]}
    assert {row[1:3] for row in found[2:]} == {(2, "band")}
    drawing, axis = canvas(4, 3)
    axis.scatter([1.0, 2.0], [3.0, 4.0], label="runs")
    axis.set_xlabel("updates")
    assert data_of(drawing) == [("updates", 1, "points", "runs", x, x + 2) for x in (1.0, 2.0)]


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [(1e-4, 2e-2, "0.0001 0.001 0.01"), (2e-4, 3e-3, "0.0002 0.0005 0.001 0.002"),
     (0.8, 90, "1 10"), (25, 95, "50")],
)  # fmt: skip
def test_a_logarithmic_axis_has_plain_numbers(low: float, high: float, shown: str) -> None:
    _, axis = canvas(4, 3)
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    _label_powers(axis.xaxis)
    labels = axis.get_xticklabels(which="both")
    texts = [label.get_text().replace("\N{MINUS SIGN}", "-") for label in labels]
    assert sorted(text for text in texts if text and low <= float(text) <= high) == shown.split()


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
    extra.log_metrics({"eval/ms_jaccard_2": 0.9}, 1)
    extra.finish("ok")
    board, _ = publish(tracker, NAME)
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


def board_of(scores: dict[str, list[float]], higher: bool = True) -> Leaderboard:
    rows = [
        Row(name, float(np.mean(v)), (min(v), max(v)) if len(v) > 1 else None, len(v),
            dict(enumerate(v)), {"ok": len(v)}, {}, name, {})
        for name, v in scores.items()
    ]  # fmt: skip
    rows.sort(key=lambda row: -row.score if higher else row.score)
    return Leaderboard("s", "eval/x", higher, "p", tuple(rows), 0, 0, {"real": 0.9})


def test_findings_claim_what_the_intervals_support() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, size=(3, 10))
    scores = {"a": 0.5 + noise[0], "b": 0.5 + noise[1], "c": 0.2 + noise[2]}
    said = findings(board_of({k: list(v) for k, v in scores.items()}))
    assert re.match(
        r"`[ab]` has the highest score on `eval/x`: .* real held-out text: .9.", said[0]
    )
    assert "better than `c`" in said[1]
    unclear = r"^No significant difference from `[ab]` \(n = 10 seeds\)\.$"
    assert re.search(unclear, said[2])
    assert "adjusted for all pairs of 3 rows" in said[3]
    low = findings(board_of({"a": [1.0, 1.1], "b": [3.0, 3.1]}, higher=False))
    assert low[0].startswith("`a` has the lowest (best) score on")
    assert "`a` beats `b` by 2" in low[1]


def test_a_comparison_has_one_answer_wherever_it_is_shown() -> None:
    """The interval and p of two rows in the summary and among the contrasts, either
    way round; p, interval and sentence agree.
    """
    rng = np.random.default_rng(1)
    for _ in range(40):
        scores = {"a": list(rng.normal(0.1, 0.1, 5)), "b": list(rng.normal(0, 0.1, 5))}
        board = board_of(scores)
        best, other = (row.variant for row in board.rows)
        (there,) = effects(board, [Contrast(level=best, reference=other)])
        (back,) = effects(board, [Contrast(level=other, reference=best)])
        found = there.difference
        assert back.difference == replace(
            found, value=-found.value, low=-found.high, high=-found.low
        )
        assert found.p == there.adjusted
        assert there.clear == (found.p <= 0.05) == (found.low > 0 or found.high < 0)
        (_, said) = findings(board)
        assert bracket(*found.ends) in said
        assert ("No significant difference" in said) == (not there.clear)


def test_a_band_stays_within_the_metric_and_a_long_curve_hides_no_short_one() -> None:
    points = {0: [(0, 0.0), (10, 0.01)], 1: [(0, 0.0), (10, 0.9)], 2: [(0, 0.1), (10, 0.02)]}
    steps, line = middle(points, (0.0, 1.0))
    assert steps == [0, 10]
    assert min(each.low for each in line) >= 0
    assert max(each.high for each in line) <= 1
    rows = board_of({"long": [0.5], "short": [0.4]}).rows
    found = {"long": {0: [(0, 0.0), (1000, 0.5)]}, "short": {0: [(0, 0.0), (20, 0.4)]}}
    drawing = curves_figure(rows, found, None, "eval/bleu_4")
    axis = drawing.axes[0]
    assert axis.get_xscale() == "symlog"
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0", "100", "1000"]
    assert "logarithmic" in str(drawing.get_supxlabel())


def test_one_seed_supports_no_order() -> None:
    said = findings(board_of({"a": [0.5], "b": [0.4]}))
    assert said[1] == "One seed per variant: the order of the variants is not a result."
    assert "`eval/x`: .5 (n = 1 seed);" in said[0], "one run has no interval"
    assert not any("beats" in sentence or "better" in sentence for sentence in said)
    assert not [*broken(board_of({}))]


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.05, "`a` beats `b` by .03 [.01, .05] (n = 15 pairs)."),
        (-0.05, -0.01, "`b` beats `a` by .03 [.01, .05] (n = 15 pairs)."),
        (-0.01, 0.07, UNCLEAR),
        (0.0, 0.0, "`a` and `b` have the same score (n = 15 pairs)."),
    ],
)
def test_a_contrast_in_words(low: float, high: float, words: str) -> None:
    found = Difference(0.03 if low >= 0 else -0.03, low, high, 0.04, 15, paired=True)
    assert contrast("a", "b", found, higher_is_better=True) == words
    if low > 0:
        down = contrast("a", "b", found, higher_is_better=False)
        assert down.startswith("`b` beats `a` by .03")
    unknown = replace(found, low=math.nan, high=math.nan, pairs=1)
    shown = effects_figure(
        board_of({}), [Effect("", "a", "b", each, each.p) for each in (found, unknown)]
    )
    assert [text.get_text() for text in shown.axes[0].texts] == ["p 0.040"], "no test of one pair"
    single = contrast("a", "b", unknown, higher_is_better=True)
    assert "beats" not in single
    apart = contrast("a", "b", replace(found, paired=False), higher_is_better=True)
    assert "n = 15 pairs of runs" in apart


def test_numbers_and_names() -> None:
    assert [number(v) for v in (0.03, -0.03, 1.5, 0.0, 12345.6, 0.00001)] == [
        ".03", "-.03", "1.5", "0", "1.235e+04", "0",
    ]  # fmt: skip
    assert bracket(-0.5, 1.25) == "[-.5, 1.25]"
    assert [between(ends) for ends in (None, (0.1, 0.25))] == ["one run", "0.1000 to 0.2500"]
    assert names(["a"]) == "`a`"
    assert names(["a", "b"]) == "`a` and `b`"
    assert names(list("abcdef")) == "`a`, `b`, `c`, `d` and 2 more"
    assert ranks([1, 3, 4, 5, 9]) == "1, 3-5, 9"


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


def test_two_sections_that_see_one_contrast_say_it_once() -> None:
    said = ["No difference (n = 3); minimum .1.", "No difference (n = 3).", "c."]
    assert _each_once(said) == [said[0], "c."]
