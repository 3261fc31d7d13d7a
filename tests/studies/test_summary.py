"""A study's summary says what its store says, and results are rendered from it alone."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest

from core.config import parse
from core.errors import InputError
from core.tracking.memory import MemoryTracker
from core.tracking.rendering import Sample
from docs import results
from docs.results import reproduction
from docs.summaries import load
from studies.report import build, read
from studies.summary import export, write
from tests.conftest import ROOT
from tests.studies.test_studies import NAME, collapses, plan, start
from variants import registry

FEW = ('study.axes.next_input=["noise"]', "study.seeds=3", "corpus.source=/far/away/mine.txt")
SAME = {"leaderboard", "effects", "power", "quality_diversity", "curves", "failures"}


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> MemoryTracker:
    collapse = collapses("noise · detached · full")
    tracker, _ = start(tmp_path_factory.mktemp("store"), plan(*FEW), collapse)
    for run in tracker.runs(NAME, tags={"level": "seed"}):
        record = tracker.continue_run(run.run_id)
        record.log_params({"schedule.name": "adversarial", "schedule.n_d": "5"})
        record.log_metrics({"eval/bleu_4": 0.2, "real/bleu_4": 0.4, "train/loss": 3.0}, 0)
        record.log_samples(
            [Sample(step, row, f"{step} {row}") for step in (0, 9) for row in (0, 1)]
        )
        record.finish("collapsed" if "detached · full" in run.name else "ok")
    (study,) = tracker.runs(NAME, tags={"level": "study"})
    command = "textgan study /far/away/experiments/studies/mine.toml --workers 2"
    tracker.continue_run(study.run_id).set_tags({"command": command})
    return tracker


def test_a_summary_says_what_the_store_says(tracker: MemoryTracker, tmp_path: Path) -> None:
    write(tracker, NAME, tmp_path / "s.json")
    again, first = load(tmp_path / "s.json", tmp_path / "store"), read(tracker, NAME)
    assert again.board == first.board
    ours, theirs = build(again), build(first)
    assert (ours.question, ours.findings, ours.facts) == (
        theirs.question, theirs.findings, theirs.facts,
    )  # fmt: skip
    keys = {section.key for section in theirs.sections} & SAME
    assert len(keys) >= 4
    for a, b in zip(ours.sections, theirs.sections, strict=True):
        if a.key in keys:
            assert (a.explanation, a.rows, list(a.figures)) == (
                b.explanation, b.rows, list(b.figures),
            )  # fmt: skip


def test_a_summary_keeps_curves_of_the_metric_that_has_them(tmp_path: Path) -> None:
    """The default score is computed once a run; the figure shows the metric of pruners."""
    tracker, _ = start(tmp_path, plan(*FEW, "study.prune_metric=eval/valid"), collapses("none"))
    for run in tracker.runs(NAME, tags={"level": "seed"}):
        for step in (0, 5, 9):
            tracker.continue_run(run.run_id).log_metrics({"eval/valid": step / 10}, step)
    write(tracker, NAME, tmp_path / "s.json")
    again = load(tmp_path / "s.json", tmp_path / "again")
    for run in again.seeds:
        found = again.tracker.history(run.run_id, "eval/valid")
        assert found == tracker.history(run.run_id, "eval/valid")
        assert len(found) > 2


def test_a_summary_keeps_what_a_run_was_trained_on(tracker: MemoryTracker, tmp_path: Path) -> None:
    """Likelihood alone has a sign of its own in the plane of quality and diversity."""
    write(tracker, NAME, tmp_path / "s.json")
    again = load(tmp_path / "s.json", tmp_path / "store")
    assert [run.params for run in again.seeds] == 12 * [{"schedule.name": "adversarial"}]


def test_a_summary_keeps_no_path_no_training_curve_and_the_last_sentences(
    tracker: MemoryTracker,
) -> None:
    text = json.dumps(document := export(tracker, NAME))
    assert "/far/away" not in text
    assert "train/loss" not in text
    kept = [run["samples"]["data"] for run in document["runs"] if run.get("samples")]
    assert len(kept) == 4, "of one seed a variant"
    assert {line[2] for table in kept for line in table} == {9}


@pytest.mark.usefixtures("figure_files")
def test_pages_are_the_same_bytes_again(tracker: MemoryTracker, tmp_path: Path) -> None:
    write(tracker, NAME, tmp_path / "results" / "one.json")
    made = []
    for name in ("a", "b"):
        page = tmp_path / name / "RESULTS.md"
        page.parent.mkdir()
        results.main([
            str(tmp_path / "results"), str(page), "--pictures", str(page.parent / "pictures"),
        ])  # fmt: skip
        made.append({
            str(file.relative_to(page.parent)): file.read_bytes()
            for file in page.parent.rglob("*") if file.is_file()
        })  # fmt: skip
    assert made[0] == made[1]
    assert "pictures/one/leaderboard.svg" in made[0]
    assert b"[Details](results/one.json)" in made[0]["RESULTS.md"]


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 9}', '{"runs": 3}'])
def test_what_is_no_summary_is_refused_in_words(tmp_path: Path, text: str) -> None:
    file = tmp_path / "s.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"s\.json: (no summary|format 9; known: 1)"):
        load(file, tmp_path)


def test_the_committed_card_is_that_of_the_summary() -> None:
    text = results.model_card(ROOT / "results")
    assert text == (ROOT / "docs" / "model_card.md").read_text(encoding="utf-8"), "`make results`"
    assert "| valid |" in text
    assert parse(tomllib.loads(text.split("```toml")[1].split("```")[0]), registry())


def test_a_study_has_one_short_table_and_results_fit_300_lines(tmp_path: Path) -> None:
    reading = load(ROOT / "results" / "original_axes.json", tmp_path / "rows")
    table, floors = results.brief(build(reading))
    assert [row[0] for row in table[1:]] == [row.variant for row in reading.board.rows]
    assert {len(row) for row in table} == {5}
    assert floors.startswith("real held-out text 0.0000, ")
    forks = load(ROOT / "results" / "own_checkpoint.json", tmp_path / "forks")
    table, _ = results.brief(build(forks))
    assert table[0] == ["difference", *(f"after update {n}" for n in (300, 1000, 3000))]
    assert len(table) == 1 + 8, "eight choices against the checkpoint"
    assert table[1][1] == "-0.0738 (-0.0959 to -0.0518), better"
    assert len((ROOT / "RESULTS.md").read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize(("study", "named"), [("original_axes", False), ("feedback", True)])
def test_a_headline_has_the_verdicts_or_the_first_named_contrast(
    tmp_path: Path, study: str, named: bool
) -> None:
    reading = load(ROOT / "results" / f"{study}.json", tmp_path)
    report = build(reading)
    board, pairs = report.sections[:2]
    assert bool(reading.table.contrasts) == named
    assert report.headline[0] == board.findings[0]
    if named:
        assert report.headline[-1] == pairs.findings[0]
    else:
        assert report.headline == board.findings[:-1]
        assert board.findings[-1].startswith("The winner was picked")


def test_a_system_whose_trials_all_failed_is_expected_to_be_the_worst(tmp_path: Path) -> None:
    report = build(load(ROOT / "results" / "published_tuned.json", tmp_path))
    (tuning,) = (each for each in report.sections if each.key == "tuning")
    of_original = [row[2] for row in tuning.rows if row[0] == "gan_textgen"]
    assert of_original
    assert {*of_original} == {"1.0000"}, "jsd_bound"


def test_published_numbers_stand_beside_ours_or_beside_nothing(tmp_path: Path) -> None:
    committed = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
    assert reproduction(ROOT / "results") == committed, "run `make results`"
    folder = tmp_path / "results"
    folder.mkdir()
    shutil.copy(ROOT / "results" / "first_minute.json", folder)
    number = """[[number]]
        paper = "A 2020"
        system = "s"
        published = 0.5
        study = "{study}"
        row = "{row}"
        metric = "valid"
        why = "w"
        """
    rows = (("first_minute", "log_ratio"), ("first_minute", "real"), ("none", "log_ratio"))
    text = "".join(number.format(study=study, row=row) for study, row in rows)
    (folder / "published.toml").write_text(text)
    ours, real, absent = reproduction(folder).strip().splitlines()[-3:]
    assert "| 0.500 | 0.962 (0.953 to 0.971, 5 runs) | +0.462 | w |" in ours
    assert "| 1.000 (the held-out text of every run) | +0.500 |" in real
    assert "| 0.500 | not run |  | w |" in absent
    (folder / "published.toml").write_text("[[number]]\npaper = 3\n")
    with pytest.raises(InputError, match=r"published\.toml"):
        reproduction(folder)
