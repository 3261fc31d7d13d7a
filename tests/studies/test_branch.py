"""The kind `branch`: trunks, their forks, and contrasts within trunks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from core.tracking.memory import MemoryTracker
from core.tracking.protocol import RunLabels
from core.training import checkpoint
from docs.summaries import load
from experiments.loading import resolve_file
from experiments.single_run.run import run
from experiments.study_session import check_forks, find_file
from studies.analysis.branches import within_trunks
from studies.analysis.curves import curves
from studies.definition import RUN, Study, from_definition, load_study
from studies.leaderboard import leaderboard
from studies.plan import Done
from studies.report import build, document, read, register, sections
from studies.running.execute import begin, work
from studies.running.queue import load_queue, progress
from studies.running.storage import storage_url
from studies.summary import write
from tests.conftest import ROOT
from variants import registry

FILE = ROOT / "experiments" / "smoke" / "branch.toml"
NAME = "branch_smoke"
SMALL = ("study.seeds=2", "study.stages=[2,3]", "study.budget.updates=3", "model.length=8",
         "generator.width=8", "generator.hidden=8", "train.batch_size=4", "evaluation.every=2",
         "evaluation.sentences=20", "evaluation.references=20", "corpus.difficulty=easy",
         "corpus.sentences=300")  # fmt: skip


def plan(*overrides: str, find: Any = resolve_file) -> Study:
    return load_study(FILE, (*SMALL, *overrides), registry(), find)


def begun(tmp_path: Path, study: Study) -> tuple[MemoryTracker, str]:
    tracker = MemoryTracker(tmp_path)
    url = storage_url(tracker)
    check_forks(study, tracker)
    begin(study, NAME, tracker, url, "textgan study x.toml")
    return tracker, url


def test_forks_wait_for_their_trunk() -> None:
    kind = plan().kind
    before = kind.plan(())
    assert [job.key for job in before.ready] == [("trunk", 0), ("trunk", 1)]
    assert len(before.jobs) == 2 + 2 * 2 * 2
    ended = [Done("trunk", 0, "ok", run_id="a"), Done("trunk", 1, "diverged", run_id="b")]
    plan_ = kind.plan(ended)
    forks = [job for job in plan_.ready if job.level == "seed"]
    assert len(plan_.jobs) == len(plan_.ready) == 2 + 4, "a trunk that diverged has no forks"
    found = [(job.key, job.config.fork.run, job.config.fork.at) for job in forks]  # type: ignore[union-attr]
    assert found == [
        (("likelihood · update 2", 0), "a", 2), (("adversarial · update 2", 0), "a", 2),
        (("likelihood · update 3", 0), "a", 3), (("adversarial · update 3", 0), "a", 3),
    ]  # fmt: skip
    for job in forks:
        assert job.config is not None
        assert job.config.fork is not None
        assert job.config.fork.count_from == "fork"
        assert job.config.train.updates == 3


def test_a_choice_can_be_a_whole_system_in_place_of_the_slots() -> None:
    cot = '{label="cot", set={system={name="cot", width=8}, "fork.generator_moments"=false}}'
    study = plan(f'study.choices=[{{label="on"}}, {cot}]', 'generator={name="lstm",width=8}')
    configs = study.kind.configs  # type: ignore[attr-defined]
    (ours,), (trunk,) = configs["cot"], configs["on"]
    assert (ours.system.name, ours.generator, ours.estimator) == ("cot", None, None)
    assert (ours.corpus, ours.train, ours.model) == (trunk.corpus, trunk.train, trunk.model)


def test_further_forks_of_one_state_have_other_seeds() -> None:
    ended = [Done("trunk", 1, "ok", run_id="b")]
    jobs = plan("study.repeats=2", "study.stages=[2]").kind.plan(ended).ready
    forks = [job for job in jobs if job.level == "seed"]
    assert [job.seed for job in forks] == [1, 10_001, 1, 10_001]
    assert [job.config.seed for job in forks] == [1, 10_001, 1, 10_001]  # type: ignore[union-attr]
    assert {job.trunk for job in forks} == {1}
    assert {job.variant.name for job in forks} == {
        "likelihood · update 2", "adversarial · update 2",
    }  # fmt: skip


def test_a_branch_study_from_its_trunks_to_its_report(tmp_path: Path) -> None:
    study = plan()
    assert from_definition(study.definition(), registry()) == study
    tracker, url = begun(tmp_path, study)
    work(NAME, tracker, url, run, registry())
    state = progress(load_queue(NAME, url), study.table)
    assert (state.done, state.failed, state.total) == (10, 0, 10)
    trunks = {each.tags["seed"]: each for each in tracker.runs(NAME, tags={"level": "trunk"})}
    assert {each.tags["updates"] for each in trunks.values()} == {"3"}
    forks = tracker.runs(NAME, tags={"level": "seed"})
    assert len(forks) == 8
    for each in forks:
        trunk = trunks[each.tags["trunk"]]
        assert each.tags["forked_from"] == trunk.run_id
        steps = [step for step, _ in tracker.history(each.run_id, "eval/unique")]
        assert steps == [0, 2, 3], "updates are counted from the fork"

    reading = read(tracker, NAME)
    assert {row.seeds for row in reading.board.rows} == {2}, "trunks, not their forks"
    found = {section.key: section for section in sections(reading)}
    assert [line[0] for line in found["branches"].rows] == [
        "likelihood · update 2 - adversarial · update 2",
        "likelihood · update 3 - adversarial · update 3",
    ]
    by_row = {each.variant: each.scores for each in reading.board.rows}
    ours, theirs = (by_row[f"{label} · update 3"] for label in ("likelihood", "adversarial"))
    difference = sum(ours[trunk] - theirs[trunk] for trunk in (0, 1)) / 2
    assert float(found["branches"].rows[1][1]) == pytest.approx(difference, abs=1e-4)
    assert found["branches"].rows[1][3] == "2", "pairs are trunks"
    stages = [f"After update {update}, against `adversarial`: " for update in (2, 3)]
    answers = found["branches"].answers
    assert all(said.startswith(stage) for said, stage in zip(answers, stages, strict=True))
    assert all(said.endswith(f"{row[6]} `likelihood`.")
               for said, row in zip(answers, found["branches"].rows, strict=True))  # fmt: skip
    assert build(reading).headline == answers
    told = document(reading)["contrasts"]
    assert [f"{each['a']} - {each['b']}" for each in told] == [
        row[0] for row in found["branches"].rows
    ]
    assert told[1]["difference"] == pytest.approx(difference)
    unranked = replace(reading.board.rows[0], score=None)  # a fork failed, and nothing is the worst
    without = replace(reading.board, rows=(unranked, *reading.board.rows[1:]))
    assert len(within_trunks(replace(reading, board=without))) == 1
    (section,) = curves(reading)
    figure = section.figures["curves"]()
    lengths = {len(line.get_xdata()) for axis in figure.axes for line in axis.lines}
    assert {line.get_xdata()[-1] for axis in figure.axes for line in axis.lines} <= {5, 6, 0, 1}
    assert 5 in lengths, "a curve begins with that of its trunk"
    write(tracker, NAME, tmp_path / "summary.json")
    kept = load(tmp_path / "summary.json", tmp_path / "x").board.rows
    assert [row.scores for row in kept] == [row.scores for row in reading.board.rows]


def test_a_choice_of_no_updates_is_the_checkpoint_itself(tmp_path: Path) -> None:
    stopped = '{label="stopped", set={"train.updates"=0}}'
    study = plan(f'study.choices=[{{label="on"}}, {stopped}]', "study.seeds=1", "study.stages=[2]")
    tracker, url = begun(tmp_path, study)
    work(NAME, tracker, url, run, registry())
    assert progress(load_queue(NAME, url), study.table).failed == 0
    (trunk,) = tracker.runs(NAME, tags={"level": "trunk"})
    forks = {
        each.tags["variant"]: each.run_id for each in tracker.runs(NAME, tags={"level": "seed"})
    }
    ((step, nats),) = tracker.history(forks["stopped · update 2"], "eval/nll_gen")
    assert (step, nats) == (0, dict(tracker.history(trunk.run_id, "eval/nll_gen"))[2])
    assert {row.variant: row.seeds for row in leaderboard(tracker, NAME).rows} == {
        "on · update 2": 1, "stopped · update 2": 1,
    }  # fmt: skip


def test_forks_of_one_state_are_averaged(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    begin(plan("study.repeats=2"), NAME, tracker, storage_url(tracker), "")
    for trunk, seed, score in ((0, 0, 0.1), (0, 10_000, 0.3), (1, 1, 0.5), (1, 10_001, 0.7)):
        tags = {"level": "seed", "variant": "a", "seed": str(seed), "trunk": str(trunk)}
        record = tracker.start_run(NAME, f"{seed}", params={}, tags=tags)
        record.log_metrics({"eval/ms_jaccard_2": score}, 1)
        record.finish("ok")
    (row,) = leaderboard(tracker, NAME).rows
    assert row.scores == pytest.approx({0: 0.2, 1: 0.6})
    assert (row.seeds, row.outcomes["ok"]) == (2, 4), "trunks are replicates, forks are not"
    (weights := tmp_path / "weights").mkdir()
    for each in tracker.runs(NAME, tags={"level": "seed"}):
        tracker.continue_run(each.run_id).log_model(weights)
    best, _ = register(read(tracker, NAME), "writer")
    assert tracker.run(best).tags["seed"] == "10001", "no other run of its trunk"


def test_given_runs_are_trunks(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    trunk = plan().variants[0].config
    ids = [
        run(trunk.model_copy(update={"seed": seed}), tracker=tracker, labels=labels).run_id
        for seed, labels in ((5, RunLabels(name="first")), (7, RunLabels(name="second")))
    ]

    def find(name: str) -> Path:
        if name.startswith(RUN):
            run_id = tracker.run(name.removeprefix(RUN)).run_id
            return tmp_path / "runs" / run_id / "config.toml"
        return resolve_file(name)

    given = ("study.trunks=['first', 'second']", "study.stages=[2]")
    study = plan(*given, find=find)
    check_forks(study, tracker)
    url = storage_url(tracker)
    begin(study, NAME, tracker, url, "x")
    work(NAME, tracker, url, run, registry())
    forks = tracker.runs(NAME, tags={"level": "seed"})
    found = [(r.tags["seed"], r.params["seed"], r.tags["forked_from"]) for r in forks]
    assert found == [
        ("0", "5", ids[0]), ("0", "5", ids[0]), ("1", "7", ids[1]), ("1", "7", ids[1]),
    ]  # fmt: skip
    assert not tracker.runs(NAME, tags={"level": "trunk"})
    assert [each.key for each in sections(read(tracker, NAME))] == ["branches"]

    study = plan(given[0], "study.stages=[1]", find=find)
    with pytest.raises(InputError, match="no checkpoint of update 1; kept are: 2, 3"):
        check_forks(study, tracker)


def test_continuing_the_trunk_is_its_continuation(tmp_path: Path) -> None:
    """Likelihood forked at 2 and at 3 read the same data after the same weights."""
    study = plan("study.seeds=1")
    tracker, url = begun(tmp_path, study)
    work(NAME, tracker, url, run, registry())
    runs = {each.tags["variant"]: each.run_id for each in tracker.runs(NAME) if "seed" in each.tags}
    whole = plan().variants[0].config
    whole = whole.model_copy(update={"train": whole.train.model_copy(update={"updates": 5})})
    expected = run(whole, tracker=tracker)
    ours, theirs = (
        checkpoint.read(tmp_path / "runs" / each / "checkpoint.safetensors")
        for each in (runs["likelihood · update 2"], expected.run_id)
    )
    assert ours is not None
    assert theirs is not None
    for key, value in theirs.group("weights.generator").items():
        assert value.equal(ours.group("weights.generator")[key])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("study.stages=[]",), "study.stages"),
        (("study.stages=[2,2]",), "the same one twice"),
        (("study.stages=[0]",), "study.stages"),
        (("study.choices=[{label='a'}]",), "study.choices"),
        (("study.choices=[{label='a'},{label='a'}]",), "the same one twice"),
        (("study.choices=[{label='a'},{label='b',set={'penalty.name'='none'}}]",), "penalty"),
        (("study.trunks='3f9a'",), "study.trunks"),
        (("study.contrasts=[{level='x',reference='likelihood'}]",), "no variant 'x'"),
        (("study.seeds=[0,20000]",), "below 10,000"),
        (("study.systems=['mle']",), "study.systems: a branch has choices"),
    ],
)
def test_faults_are_named_before_anything_runs(overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        plan(*overrides)


def test_a_budget_is_needed(tmp_path: Path) -> None:
    file = tmp_path / "b.toml"
    file.write_text(FILE.read_text().replace("[study.budget]\nupdates = 20\n", ""))
    with pytest.raises(InputError, match="needs a budget that every fork gets"):
        load_study(file, [], registry(), resolve_file)


def test_a_choice_that_changes_the_shape_is_refused_before_anything_runs(tmp_path: Path) -> None:
    study = plan("study.choices=[{label='a'},{label='b',set={'generator.hidden'=16}}]")
    with pytest.raises(InputError, match="the generator has another shape than in the trunk"):
        begun(tmp_path, study)
    assert MemoryTracker(tmp_path).runs() == []


def test_an_unknown_trunk_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing"):
        plan("study.trunks=['nothing']", find=lambda name: find_file(None, name))
