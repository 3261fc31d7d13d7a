"""Studies: the design, the queue, resuming, and the leaderboard, with a stand-in for training."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from core.config import Config
from core.errors import InputError
from core.tracking.memory import MemoryTracker
from core.tracking.protocol import RunLabels, Tracker
from experiments.loading import resolve_file
from experiments.study_output import show_ranking
from studies.analysis.contrasts import effects
from studies.definition import (
    Study,
    from_definition,
    load_study,
    same_definition,
    stored_study,
)
from studies.leaderboard import leaderboard
from studies.report import build, publish, read
from studies.running.execute import begin, free_name, grow, resume, work
from studies.running.queue import failures, load_queue, progress
from studies.running.storage import storage_url
from tests.conftest import ROOT
from variants import registry

NAME = "design_axes_smoke"
FILE = ROOT / "experiments" / "smoke" / "design_axes.toml"
TWO = ('study.axes.next_input=["noise"]', 'study.axes.noise_mapping=["full"]')  # variants


@dataclass
class FakeTraining:
    """Scores a variant by its name and seed, and may break or be interrupted."""

    breaks: Callable[[str, int], Exception | None] = lambda variant, seed: None
    outcome: Callable[[str], str] = lambda variant: "ok"
    seen: list[tuple[str, int, str | None]] = field(default_factory=list)

    def __call__(
        self,
        config: Config | None,
        *,
        tracker: Tracker,
        labels: RunLabels,
        resume: str | None,
        started: Callable[[str], None],
        **_: object,
    ) -> Any:
        name = labels.name or ""
        variant, seed = labels.tags["variant"], int(name.split()[-1])
        self.seen.append((variant, seed, resume))
        if resume is None:
            assert config is not None
            assert config.seed == seed
            record = tracker.start_run(
                labels.experiment,
                name,
                params={},
                tags={**labels.tags, "seed": str(seed)},
                parent_id=labels.parent_id,
            )
            started(record.run_id)
        else:
            record = tracker.continue_run(resume)
        error = self.breaks(variant, seed)
        if error is not None:
            record.finish("failed", str(error))
            raise error
        score = 0.5 * ("gumbel" in variant) + 0.01 * seed + 0.1 * ("noise" in variant)
        floors = {"unigram": 0.3, "bigram": 0.55, "trigram": 0.6, "real": 0.9, "likelihood": 0.8}
        values = {f"{text}/ms_jaccard_2": value for text, value in floors.items()}
        record.log_metrics(
            {"eval/ms_jaccard_2": score, "eval/valid": 0.5, **values, "trigram/copied": 0.24}, 1
        )
        record.finish(self.outcome(variant))  # type: ignore[arg-type]
        return tracker.run(record.run_id)


def collapses(*variants: str) -> FakeTraining:
    """Training in which these variants collapse."""
    return FakeTraining(outcome=lambda v: "collapsed" if v in variants else "ok")


def plan(*overrides: str) -> Study:
    return load_study(FILE, overrides, registry(), resolve_file)


def start(tmp_path: Path, study: Study, training: FakeTraining) -> tuple[MemoryTracker, str]:
    tracker = MemoryTracker(tmp_path)
    url = storage_url(tracker)
    begin(study, study.table.name, tracker, url, "textgan study x.toml")
    work(study.table.name, tracker, url, training, registry())
    return tracker, url


def done(url: str) -> int:
    return progress(load_queue(NAME, url), plan().table).done


def test_the_design_is_the_full_product() -> None:
    study = plan("study.seeds=3")
    assert len(study.variants) == 12
    assert study.variants[0].name == "noise · detached · full"
    names = {v.config.noise_mapping.name for v in study.variants}
    assert names == {"full", "broadcast"}
    assert from_definition(study.definition(), registry()) == study


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("study.axes.sampling=['detached', 'detached']", "listed twice"),
        ("study.axes.sampling=['detatched']", "did you mean 'detached'"),
        ("study.axes.sampling=[]", "must not be empty"),
        ("study.axes.train.batch_sizes=[4, 8]", "study.axes.train"),
        ("study.metric='eval/bleu_9'", "study.metric"),
        ("study.metric='eval/entropy'", "cannot rank"),
        ("study.kind='ablations'", "study.kind"),
        ("study.sedes=3", "did you mean 'seeds'"),
        ("study.budget={second=60}", "study.budget.second: unknown key; did you mean 'seconds'"),
        (
            "study.contrasts=[{axes='a',level='b',reference='c'}]",
            "axes: unknown key; did you mean 'axis'",
        ),
        ("train.updates=-1", "train.updates"),
        ("study.design='fractional'", "design 'fractional' needs study.cells"),
        ("study.cells=4", "goes with design = 'fractional' only; leave it out"),
        ("train=5", "train = 5: must be a table of settings"),
        ("corpus='x.txt'", "corpus = 'x.txt': must be a table of settings"),
        ("study=3", "study = 3: must be a table of settings"),
        ("sampling=3", "sampling = 3: must be a table of settings"),
        ("objective={name='relativistic_average',reward='score'}", "objective.reward"),
    ],
)
def test_faults_are_named_before_anything_runs(override: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        plan(override)
    assert words in str(caught.value)


@pytest.mark.parametrize("table", ["train", "study", "sampling"])
def test_a_setting_in_place_of_a_table_of_a_stored_study_is_refused(table: str) -> None:
    with pytest.raises(InputError, match=f"study 'x': {table} = 5: must be a table of settings"):
        stored_study({**plan().tables, table: 5}, registry(), "study 'x'")


def test_the_base_of_an_axis_may_be_a_name_alone() -> None:
    study = plan("objective='minimax'", "study.axes.objective=['minimax', 'wasserstein']")
    assert {each.config.objective.name for each in study.variants if each.config.objective} == {
        "minimax", "wasserstein"
    }  # fmt: skip


def test_axes_may_be_any_setting(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    text = FILE.read_text()
    head, _, tail = text.partition("[study.axes]")
    rest = tail[tail.index("[model]") :]
    file.write_text(head + '[study.axes]\n"train.batch_size" = [4, 8]\n\n' + rest)
    study = load_study(file, [], registry())
    assert [v.name for v in study.variants] == ["batch_size=4", "batch_size=8"]
    assert [v.config.train.batch_size for v in study.variants] == [4, 8]


def test_a_study_runs_everything_once_and_ranks_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = FakeTraining()
    tracker, url = start(tmp_path, plan("study.seeds=2"), training)
    assert len(training.seen) == len(set(training.seen)) == 24
    board, _ = publish(tracker, "design_axes_smoke")
    assert (board.runs, board.failed, len(board.rows)) == (24, 0, 12)
    assert board.rows[0].variant == "noise · gumbel_softmax · full"
    assert board.rows[0].score == pytest.approx(0.605)
    assert board.rows[0].interval is not None
    low, high = board.rows[0].interval
    assert low <= board.rows[0].score <= high
    assert board.baselines["real"] == pytest.approx(0.9)
    text = build(read(tracker, "design_axes_smoke")).markdown()
    lines = {line.split(" | ")[1]: line for line in text.splitlines() if line.count(" | ") > 5}
    assert "0.9000" in lines["real held-out text"]
    assert "copies 24%" in lines["trigram model"]
    assert board.rows[0].ladder == "bigram to trigram"
    assert "bigram to trigram" in lines[board.rows[0].variant]
    document = board.document()
    assert document["baselines"] == {
        "real": 0.9, "likelihood": 0.8, "unigram": 0.3, "bigram": 0.55, "trigram": 0.6
    }  # fmt: skip
    assert "0.8000" in lines["mle_tuned, stopped early"]
    assert document["baselines_copied"]["trigram"] == 0.24
    assert document["leaderboard"][0]["ladder"] == "bigram to trigram"
    assert not {row["variant"] for row in document["leaderboard"]} & {*document["baselines"]}
    variant = tracker.run(board.rows[0].run_id)
    assert variant.metrics["score"] == pytest.approx(0.605)
    assert leaderboard(tracker, "design_axes_smoke").document() == board.document()
    assert done(url) == 24
    show_ranking(read(tracker, NAME))
    shown = capsys.readouterr()
    columns = " ".join(shown.out.splitlines()[1].split())
    assert columns == "variant score 95% interval valid outcomes against the first ladder"
    assert "1 noise · gumbel_softmax · full 0.6050" in " ".join(shown.out.split())
    assert "`noise · gumbel_softmax · full` has the highest score" in shown.err


def test_an_effect_is_the_difference_between_equals(tmp_path: Path) -> None:
    tracker, _ = start(tmp_path, plan("study.seeds=2"), FakeTraining())
    found = {(e.axis, e.level, e.reference): e for e in effects(leaderboard(tracker, NAME))}
    assert len(found) == 3 + 1 + 1
    sampling = found["sampling", "gumbel_softmax", "detached"]
    sampled = sampling.difference
    assert (sampled.value, *sampled.ends) == pytest.approx((0.5,) * 3)
    assert (sampled.pairs, sampled.p < 1e-9) == (12, True)
    mapping = found["noise_mapping", "full", "broadcast"]
    assert mapping.difference.value == pytest.approx(0)
    assert mapping.difference.p == 1


def test_a_broken_run_is_named_and_resume_completes_only_it(tmp_path: Path) -> None:
    broken = ("last_token · detached · full", 1)
    study = plan("study.seeds=2", "study.axes.next_input=['last_token']")
    training = FakeTraining(breaks=lambda *run: RuntimeError("boom") if run == broken else None)
    tracker, url = start(tmp_path, study, training)
    assert failures(load_queue("design_axes_smoke", url)) == [
        f"{broken[0]}, seed 1: RuntimeError: boom"
    ]
    assert leaderboard(tracker, "design_axes_smoke").failed == 1
    again = FakeTraining()
    resume("design_axes_smoke", url, study)
    work("design_axes_smoke", tracker, url, again, registry())
    assert [(variant, seed) for variant, seed, _ in again.seen] == [broken]
    assert again.seen[0][2] is not None, "the retry goes on with the same run"
    board = leaderboard(tracker, "design_axes_smoke")
    assert (board.runs, board.failed) == (8, 0)
    assert failures(load_queue("design_axes_smoke", url)) == []


def test_an_interrupted_study_is_completed_without_repeating(tmp_path: Path) -> None:
    study = plan()
    calls: list[int] = []

    def interrupt(variant: str, seed: int) -> Exception | None:
        calls.append(seed)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return None

    with pytest.raises(KeyboardInterrupt):
        start(tmp_path, study, FakeTraining(breaks=interrupt))
    tracker = MemoryTracker(tmp_path)
    assert done(storage_url(tracker)) == 4


def test_an_interval_stays_where_the_metric_can_be(tmp_path: Path) -> None:
    few = ("study.axes.next_input=['last_token']", "study.axes.noise_mapping=['full']")
    tracker, _ = start(tmp_path, plan("study.seeds=2", *few), FakeTraining())
    worst = min(leaderboard(tracker, NAME).rows, key=lambda row: row.score)
    assert worst.score < 0.02
    assert worst.interval is not None
    assert worst.interval[0] == 0.0


@pytest.mark.slow
def test_one_run_has_no_interval_anywhere(tmp_path: Path) -> None:
    tracker, _ = start(tmp_path, plan("study.seeds=1", *TWO), FakeTraining())
    board = leaderboard(tracker, NAME)
    assert {row.interval for row in board.rows} == {None}
    assert board.document()["leaderboard"][0].items() >= {"low": None, "high": None}.items()
    assert "one run" in build(read(tracker, NAME)).html()
    publish(tracker, NAME)
    (published,) = {frozenset(tracker.run(row.run_id).metrics) for row in board.rows}
    assert "score" in published
    assert not published & {"score_low", "score_high"}


@pytest.mark.slow
def test_more_seeds_are_added_to_a_begun_study_and_the_report_says_so(tmp_path: Path) -> None:
    tracker, url = start(tmp_path, plan("study.seeds=2", *TWO), FakeTraining())
    for seeds in ("2", "1", "[7, 8, 9]"):
        assert not grow(NAME, tracker, url, plan(f"study.seeds={seeds}", *TWO))
    assert not grow(NAME, tracker, url, plan("study.seeds=3", "train.updates=21", *TWO))
    assert "added" not in build(read(tracker, NAME)).markdown()
    more = plan("study.seeds=3", *TWO)
    assert grow(NAME, tracker, url, more) == ["seeds 2, then 3"]
    resume(NAME, url, more)
    work(NAME, tracker, url, again := FakeTraining(), registry())
    assert {seed for _, seed, _ in again.seen} == {2}
    reading = read(tracker, NAME)
    assert {row.seeds for row in reading.board.rows} == {3}
    page = build(reading).markdown()
    assert "Seeds were added after runs had ended (2, then 3)" in page
    assert "textgan study x.toml --set study.seeds=3\n" in page


@pytest.mark.slow
def test_rows_are_added_to_a_begun_study_and_the_report_says_so(tmp_path: Path) -> None:
    one = "study.systems=['mle']"
    two = 'study.systems=["mle", {system = "mle", label = "twin"}]'
    tracker, url = start(tmp_path, plan("study.seeds=2", *TWO), FakeTraining())
    rows = len(read(tracker, NAME).board.rows)
    assert not grow(NAME, tracker, url, plan("study.seeds=2", one, "train.updates=21", *TWO))
    for systems, added in ((one, "mle"), (two, "twin")):
        more = plan("study.seeds=2", systems, *TWO)
        assert grow(NAME, tracker, url, more) == [f"row {added}"]
        resume(NAME, url, more)
        work(NAME, tracker, url, again := FakeTraining(), registry())
        assert {variant for variant, *_ in again.seen} == {added}
    assert not grow(NAME, tracker, url, plan("study.seeds=2", one, *TWO)), "none is taken away"
    reading = read(tracker, NAME)
    assert len(reading.board.rows) == rows + 2
    assert "Rows were added after runs had ended (`mle, twin`)" in build(reading).markdown()


def test_an_exact_score_that_a_row_cannot_have_is_refused() -> None:
    with pytest.raises(InputError, match="sampling 'detached' has no likelihood"):
        plan(
            'study.metric="eval/jsd"',
            'sampling.name="detached"',
            'study.axes.sampling=["detached", "gumbel_softmax"]',
        )
    with pytest.raises(InputError, match="has no exact probabilities"):
        plan('study.metric="eval/jsd"', 'corpus.source="a.txt"')


def test_a_stored_study_has_no_language_model_among_its_baselines() -> None:
    """Unless it says so: versions before had none. Another setting is no other study."""
    study = plan()
    stored = json.loads(study.definition())
    del stored["study"]["likelihood"]
    old = from_definition(json.dumps(stored), registry())
    assert not old.table.likelihood
    assert same_definition(json.dumps(stored), plan("study.likelihood=true").definition())


def test_a_stored_study_keeps_its_metric_of_curves() -> None:
    """Versions before did not store it."""
    study = plan("study.metric='eval/jsd_bound'", "study.selection='best'")
    assert {each.config.evaluation.keep_best for each in study.variants} == {"eval/fed"}
    stored = json.loads(study.definition())
    del stored["study"]["prune_metric"]
    old = from_definition(json.dumps(stored), registry())
    assert {each.config.evaluation.keep_best for each in old.variants} == {"eval/ms_jaccard_2"}
    assert same_definition(json.dumps(stored), study.definition())
    other = plan(
        "study.metric='eval/jsd_bound'", "study.selection='best'", "study.prune_metric='eval/valid'"
    )
    assert not same_definition(other.definition(), study.definition())


def test_resuming_another_definition_is_refused(tmp_path: Path) -> None:
    _, url = start(tmp_path, plan(*TWO), FakeTraining())
    with pytest.raises(InputError, match="another definition"):
        resume("design_axes_smoke", url, plan("train.updates=21", *TWO))
    with pytest.raises(InputError, match="no study 'nothing'"):
        resume("nothing", url, plan())


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    tracker, url = start(tmp_path, plan(*TWO), FakeTraining())
    assert free_name("design_axes_smoke", tracker, url) == "design_axes_smoke-2"
    assert free_name("other", tracker, url) == "other"


def test_a_collapsed_run_keeps_its_score_and_is_named(tmp_path: Path) -> None:
    best = "noise · gumbel_softmax · full"
    collapse = FakeTraining(outcome=lambda variant: "collapsed" if variant == best else "ok")
    few = "study.axes.next_input=['noise']"
    tracker, _ = start(tmp_path, plan("study.seeds=3", few), collapse)
    board = leaderboard(tracker, NAME)
    row = next(row for row in board.rows if row.variant == best)
    other = next(r for r in board.rows if r.variant == "noise · gumbel_softmax · broadcast")
    assert row.score == other.score == pytest.approx(0.61)
    assert row.outcomes == {"collapsed": 3}
    assert (row.failed, row.survivors, row.interval) == (frozenset({0, 1, 2}), None, None)
    assert other.survivors_interval is not None
    assert other.interval is not None
    assert other.interval[0] < other.survivors_interval[0], "failures that were not seen"
    text = build(read(tracker, NAME)).markdown()
    assert "3 of 3 runs failed" in text
    assert "3 of 3 (46% to 100%)" in text


def test_an_unknown_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no study 'x'"):
        leaderboard(MemoryTracker(tmp_path), "x")
