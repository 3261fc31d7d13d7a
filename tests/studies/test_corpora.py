"""Several corpora as an axis: a study on each, their ranks, and what few corpora cannot show."""

from __future__ import annotations

import itertools
import json
import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from core.errors import InputError, MachineError
from core.tracking.memory import MemoryTracker
from core.tracking.protocol import study_run
from experiments import study_session
from experiments.estimate import show_plan
from experiments.export import export as export_files
from experiments.listing import as_rows, runs_of
from experiments.loading import resolve_file
from experiments.stored_study import StoredStudy
from experiments.study_output import show_ranking
from experiments.study_session import Session, begin_or_join, complete
from studies.analysis.corpora import Ranks, _agreement, figure, ranks_of
from studies.compared import compare
from studies.definition import Study, from_definition, load_study
from studies.plan import NO_LIMIT, Limit
from studies.report import build, document, on_corpora, read
from studies.running import execute
from studies.running.storage import storage_url
from studies.summary import export
from tests.conftest import ROOT
from tests.studies.test_findings import board_of
from tests.studies.test_studies import FakeTraining
from variants import registry

FILE = ROOT / "experiments" / "smoke" / "corpora.toml"
NAME = "corpora_smoke"
ROWS = {"detached", "gumbel_softmax", "straight_through"}


def plan(*overrides: str) -> Study:
    """The smoke study with all rows, whatever its file is sized for."""
    axis = f"study.axes.sampling={sorted(ROWS)}"
    return load_study(FILE, [axis, *overrides], registry(), resolve_file)


def session(folder: Path, *overrides: str) -> Session:
    tracker = MemoryTracker(folder)
    return Session(NAME, plan("corpus.sentences=300", *overrides), tracker, storage_url(tracker))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTraining:
    training = FakeTraining()
    monkeypatch.setattr(study_session, "run", training)
    for name in ("load_queue", "open_storage", "queue_names"):  # of memory, as for the others
        monkeypatch.setattr(study_session, name, getattr(execute, name))
    return training


def ranked(*ranks: list[int]) -> Ranks:
    """Ranks of rows `a`, `b`, ... on corpora `0`, `1`, ..., a list for each corpus."""
    table = np.array(ranks, dtype=float).T
    return Ranks([chr(97 + i) for i in range(len(table))], [*map(str, range(len(ranks)))], table)


def test_each_corpus_has_a_study_with_its_own_settings() -> None:
    study = plan("corpus.sentences=300")
    assert (study.variants, study.kind.plan(()).jobs) == ((), ())
    own = study.on_corpora(registry(), "x")
    assert [each.table.name for each in own.values()] == [f"{NAME}_easy", f"{NAME}_default"]
    for name, each in own.items():
        assert {v.name for v in each.variants} == ROWS
        assert {v.config.corpus.difficulty for v in each.variants} == {name}
        assert {v.config.corpus.sentences for v in each.variants} == {300}, "of [corpus]"
        assert from_definition(each.definition(), registry()) == each
    assert from_definition(study.definition(), registry()) == study
    named = plan("study.corpora=['grammar','data/my text.txt']").on_corpora(registry(), "x")
    assert [*named] == ["grammar", "my_text"]
    assert named["my_text"].variants[0].config.corpus.source == "data/my text.txt"


def test_adaptive_seeds_have_the_same_contrasts_on_record_on_each_corpus() -> None:
    study = plan("study.seeds={until='settled',margin=0.02}")
    for each in study.on_corpora(registry(), "x").values():
        assert [c.level for c in each.table.contrasts] == ["gumbel_softmax", "straight_through"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("study.corpora=['grammar']", "study.corpora"),
        ("study.corpora=['grammar','grammar']", "'grammar' is listed twice; give one of them"),
        ("study.corpora=['grammar',{label='a',difficulty='eazy'}]", "difficulty"),
        ("study.corpora=['grammar',{label='a',sorce='x'}]", "did you mean 'source'"),
        ("study.corpora=['grammar',{label='a/b'}]", "must have letters, digits"),
        ("study.corpora=['grammar',3]", "study.corpora"),
        ("study.metric='eval/jsd'", "has no likelihood"),
    ],
)
def test_faults_are_named_before_anything_runs(override: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        plan(override)
    assert words in str(caught.value)


def test_a_study_on_several_corpora_is_not_exported_as_tables(
    tmp_path: Path, fake: FakeTraining
) -> None:
    begun = begin_or_join(session(tmp_path), "textgan study x.toml", NO_LIMIT, resume=False)
    study = StoredStudy(NAME, begun.tracker)
    with pytest.raises(InputError, match=f"give the study of one: {NAME}_easy, {NAME}_default"):
        export_files(study, "csv", tmp_path / "csv", lambda done, of: None)
    assert not (tmp_path / "csv").exists()
    assert fake.seen == []


@pytest.mark.slow
def test_a_study_on_two_corpora_from_its_plan_to_its_report(
    tmp_path: Path, fake: FakeTraining, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = begin_or_join(session(tmp_path), "textgan study x.toml", NO_LIMIT, resume=False)
    assert [each.name for each in begun.corpora] == [f"{NAME}_easy", f"{NAME}_default"]
    complete(begun, 1, None, None)
    assert len(fake.seen) == 12
    tracker = begun.tracker
    found = document(read(tracker, NAME))
    assert (found["runs"], found["failed"], [*found["corpora"]]) == (12, 0, ["easy", "default"])
    assert len(found["corpora"]["easy"]["leaderboard"]) == 3
    assert {row["variant"] for row in found["ranks"]["rows"]} == ROWS
    assert found["ranks"]["rows"][0]["mean_rank"] == 1
    assert (found["ranks"]["p"], found["ranks"]["critical_difference"]) == (None, None)
    text = build(read(tracker, NAME)).markdown()
    assert "2 corpora cannot separate 3 rows, even if they agree completely" in text
    assert "## Leaderboard on easy" in text
    assert "**default**: `gumbel_softmax` has the highest score" in text
    assert study_run(tracker, NAME).outcome == "ok"
    assert len(as_rows(runs_of(tracker, NAME))) == 12
    assert len(as_rows(runs_of(tracker, f"{NAME}_easy"))) == 6
    for refused in (lambda: compare(tracker, NAME, f"{NAME}_easy"), lambda: export(tracker, NAME)):
        with pytest.raises(InputError, match=f"give the study of one: {NAME}_easy, {NAME}_def"):
            refused()
    show_ranking(read(tracker, NAME))
    shown = capsys.readouterr().out
    assert shown.index("Mean ranks over corpora") < shown.index(f"{NAME}_easy: eval/ms_jaccard_2")

    again = replace(begun, name=NAME, study=plan("corpus.sentences=300"), corpora=())
    again = begin_or_join(again, "textgan study x.toml", NO_LIMIT, resume=False)
    assert again.name == f"{NAME}-2"
    assert [each.name for each in again.corpora] == [f"{NAME}-2_easy", f"{NAME}-2_default"]


@pytest.mark.slow
def test_resuming_begins_the_corpora_that_are_missing_and_repeats_nothing(
    tmp_path: Path, fake: FakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = session(tmp_path)
    begin, begun = execute.begin, []

    def killed(study: Study, name: str, *rest: object) -> None:
        if name == f"{NAME}_default":
            raise KeyboardInterrupt
        begun.append(name)
        begin(study, name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(execute, "begin", killed)
    with pytest.raises(KeyboardInterrupt):
        begin_or_join(ours, "textgan study x.toml", NO_LIMIT, resume=False)
    assert begun == [NAME, f"{NAME}_easy"]
    report = build(read(ours.tracker, NAME)).markdown()
    assert "Corpus `default` has no study" in report
    monkeypatch.setattr(execute, "begin", begin)
    resumed = begin_or_join(ours, "textgan study x.toml", NO_LIMIT, resume=True)
    complete(resumed.corpora[0], 1, None, None)
    assert len(fake.seen) == 6
    complete(begin_or_join(ours, "x", NO_LIMIT, resume=True), 1, None, None)
    assert len(fake.seen) == 12
    assert [*on_corpora(read(ours.tracker, NAME))] == ["easy", "default"]
    other = replace(ours, study=plan("train.updates=3"))
    with pytest.raises(InputError, match="begun with another definition"):
        begin_or_join(other, "x", NO_LIMIT, resume=True)


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A study on several corpora, of which one was begun; its runs are none of the tests'."""
    ours = session(tmp_path)
    own = ours.study.on_corpora(registry(), "x")["easy"]
    for name, study in ((NAME, ours.study), ("easy", own)):
        execute.begin(study, name, ours.tracker, ours.storage, "x")
    monkeypatch.setattr(study_session, "load_queue", execute.load_queue)
    monkeypatch.setattr(study_session, "_unfinished", lambda _: None)
    monkeypatch.setattr(study_session, "_work", lambda *_: None)
    monkeypatch.setattr(execute, "watching", lambda *_: nullcontext())
    return replace(ours, corpora=(replace(ours, name="easy", study=own),))


@pytest.mark.parametrize(
    ("error", "outcome"), [(KeyboardInterrupt(), "killed"), (MachineError("full"), "failed")]
)
def test_a_study_on_corpora_that_does_not_end_well_is_not_left_running(
    parent: Session, error: BaseException, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise error

    monkeypatch.setattr(study_session, "_work", breaks)
    with pytest.raises(type(error)):
        complete(parent, 1, None, None)
    assert [study_run(parent.tracker, name).outcome for name in ("easy", NAME)] == [outcome] * 2


def test_a_process_that_joined_a_study_on_corpora_publishes_nothing(
    parent: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[str] = []

    def publish(_: object, name: str) -> tuple[None, str]:
        published.append(name)
        return None, ""

    monkeypatch.setattr(study_session, "publish", publish)
    joined = [replace(each, joined=True) for each in parent.corpora]
    complete(replace(parent, corpora=tuple(joined), joined=True), 1, None, None)
    assert published == []
    complete(parent, 1, None, None)
    assert published == ["easy", NAME]


def test_who_begins_a_corpus_of_a_joined_study_publishes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = session(tmp_path)
    execute.begin(ours.study, NAME, ours.tracker, ours.storage, "x")

    def begin(each: Session, *_: object, resume: bool) -> Session:
        return replace(each, joined=True) if each.name == NAME else each

    monkeypatch.setattr(study_session, "_begin_or_join", begin)
    found = begin_or_join(ours, "x", NO_LIMIT, resume=False)
    assert found.joined
    assert {each.name: each.joined for each in found.corpora} == {
        f"{NAME}_{corpus}": False for corpus in ours.study.on_corpora(registry(), NAME)
    }


def test_a_corpus_that_cannot_be_read_is_named_before_anything_is_written(tmp_path: Path) -> None:
    ours = session(tmp_path, "study.corpora=['grammar', 'nowhere.txt']")
    with pytest.raises(InputError, match=r"nowhere\.txt"):
        begin_or_join(ours, "x", NO_LIMIT, resume=False)
    assert ours.tracker.runs() == []


def test_the_plan_counts_the_runs_on_all_corpora(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = session(tmp_path)
    import experiments.estimate as module

    jobs: list[int] = []

    def cost(given: list[object], _: object) -> module.Estimate:
        jobs.append(len(given))
        return module.Estimate(2.0, 10, "")

    monkeypatch.setattr(module, "estimate", cost)
    show_plan(ours.study, Limit(workers=2), ours.tracker, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["runs"], found["corpora"], found["seconds"]) == (12, ["easy", "default"], 12.0)
    assert jobs == [12]
    show_plan(ours.study, Limit(trials=5), ours.tracker, as_json=True)
    assert json.loads(capsys.readouterr().out)["runs"] == 10, "5 on each corpus"


def test_ranks_are_within_corpora_and_ties_share_them() -> None:
    easy = board_of({"a": [0.9], "b": [0.5], "c": [0.5], "only here": [1.0]})
    hard = board_of({"a": [0.02], "b": [0.03], "c": [0.01]})
    found = ranks_of({"easy": easy, "hard": hard})
    assert found is not None
    assert (found.rows, found.corpora) == (["a", "b", "c"], ["easy", "hard"])
    assert found.ranks.tolist() == [[1, 2], [2.5, 1], [2.5, 3]]
    assert ranks_of({"easy": easy}) is None
    assert ranks_of({"easy": easy, "hard": board_of({})}) is None


def test_friedmans_p_is_that_of_all_permutations() -> None:
    found = ranked([1, 2, 3], [1, 2, 3], [2, 1, 3], [1, 3, 2])
    spread = found.means.var()
    orders = list(itertools.permutations([1, 2, 3]))
    every = [np.mean(each, axis=0).var() for each in itertools.product(orders, repeat=4)]
    assert found.p == pytest.approx(np.mean(np.array(every) >= spread - 1e-9), abs=0.01)
    statistic = stats.friedmanchisquare(*found.ranks).statistic
    assert statistic == pytest.approx(12 * 4 * 3 / (3 * 4) * spread)


def test_the_critical_difference_is_nemenyis() -> None:
    """Demsar 2006, table 5 (a): q is 2.343 for 3 and 2.850 for 6 rows."""
    assert ranked([1, 2, 3], [1, 2, 3]).critical == pytest.approx(2.343 * math.sqrt(1), abs=1e-3)
    six = ranked(*[[1, 2, 3, 4, 5, 6]] * 10)
    assert six.critical == pytest.approx(2.850 * math.sqrt(6 * 7 / 60), abs=1e-3)


@pytest.mark.parametrize(("rows", "corpora", "enough"), [
    (2, 5, False), (2, 6, True), (3, 2, False), (3, 3, True), (8, 2, False), (20, 2, False),
])  # fmt: skip
def test_two_corpora_are_never_enough(rows: int, corpora: int, enough: bool) -> None:
    found = ranked(*[[*range(1, rows + 1)]] * corpora)
    assert found.enough == enough
    assert found.separated[0, -1] == enough
    assert (found.document()["p"] is not None) == enough


def test_many_rows_and_ties_have_words() -> None:
    assert ranked(*[[*range(1, 181)]] * 20).enough, "more orders than a float has room for"
    tied = _agreement(ranked([1, 2, 3], [2, 2, 2]))
    assert tied.rows[0][2:] == ["undefined: all rows tied", ""]


def joined(*ranks: list[int]) -> list[list[int]]:
    """Where the lines that join rows begin and end; the last row is 0."""
    lines = [line for line in figure(ranked(*ranks)).axes[0].lines if min(line.get_xdata()) > 4]
    return [[*map(round, line.get_ydata())] for line in lines]


def test_the_figure_joins_rows_that_do_not_differ() -> None:
    """The critical difference of 4 rows on 6 corpora is 1.91."""
    assert joined(*[[1, 2, 3, 4]] * 6) == [[3, 2], [2, 1], [1, 0]], "neighbours alone"
    both = joined(*[[1, 2, 3, 4]] * 3, *[[2, 1, 3, 4]] * 3)
    assert both == [[3, 1], [1, 0]], "no line within another: mean ranks 1.5, 1.5, 3, 4"
    (text,) = figure(ranked(*[[1, 2, 3, 4]] * 6)).axes[0].texts
    assert "critical difference 1.91" in text.get_text()
    few = figure(ranked([1, 2, 3, 4], [1, 2, 3, 4])).axes[0]
    assert not few.texts, "two corpora have no critical difference"
