"""Studies whose runs, tags and names people edit in MLflow's UI, and variants that tie."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from core.errors import InputError
from core.tracking.memory import MemoryRun, MemoryTracker
from core.tracking.mlflow_store import open_tracker
from studies.leaderboard import leaderboard
from studies.report import build, publish, read, register
from studies.running import queue
from studies.running.execute import again_if_gone, free_name, resume, work
from studies.running.queue import load_queue, progress
from studies.summary import export
from tests.studies.test_studies import NAME, FakeTraining, collapses, plan, start
from variants import registry

BEST = "noise · gumbel_softmax · full"
SMALL = ("study.axes.next_input=['noise']", "study.axes.noise_mapping=['full']")


def run_of(tracker: MemoryTracker, level: str, variant: str = BEST) -> MemoryRun:
    """A run of the study, to be edited as people do in the UI."""
    (found,) = tracker.runs(NAME, tags={"level": level, "variant": variant})[:1]
    return tracker._runs[found.run_id]


def test_a_deleted_seed_is_trained_again_and_a_restored_twin_counts_once(tmp_path: Path) -> None:
    study = plan("study.seeds=2", *SMALL)
    tracker, url = start(tmp_path, study, FakeTraining())
    before = leaderboard(tracker, NAME)
    gone = run_of(tracker, "seed").run_id
    tracker.trash.add(gone)
    assert len(leaderboard(tracker, NAME).rows[0].scores) == 1
    assert again_if_gone(NAME, tracker, url) == 1
    resume(NAME, url, study)
    work(NAME, tracker, url, again := FakeTraining(), registry())
    assert [(variant, seed, known) for variant, seed, known in again.seen] == [(BEST, 0, None)]
    assert progress(load_queue(NAME, url), study.table).done == 4
    assert again_if_gone(NAME, tracker, url) == 0
    tracker.trash.clear()  # a restored experiment restores all its runs
    after = leaderboard(tracker, NAME)
    assert (after.runs, after.rows[0].seeds) == (4, 2)
    assert after.document() == before.document()
    assert gone not in after.rows[0].seed_runs.values()
    assert len(export(tracker, NAME)["runs"]) == 1 + 2 + 4


def test_no_variant_keeps_running_for_ever(tmp_path: Path) -> None:
    breaks = FakeTraining(breaks=lambda v, _: RuntimeError("boom") if v == BEST else None)
    tracker, _ = start(tmp_path, plan(*SMALL), breaks)
    publish(tracker, NAME)
    assert not [run.name for run in tracker.runs(NAME) if run.status == "RUNNING"]


def test_a_retry_whose_run_was_deleted_begins_a_new_run(tmp_path: Path) -> None:
    study = plan(*SMALL)
    breaks = FakeTraining(breaks=lambda v, _: RuntimeError("boom") if v == BEST else None)
    tracker, url = start(tmp_path, study, breaks)
    tracker.trash.add(run_of(tracker, "seed").run_id)
    resume(NAME, url, study)
    work(NAME, tracker, url, again := FakeTraining(), registry())
    assert again.seen == [(BEST, 0, None)]
    assert len(leaderboard(tracker, NAME).rows) == 2


@pytest.mark.parametrize("edit", ["renamed", "deleted", "purged"])
def test_a_variant_stays_whatever_happens_to_its_own_run(edit: str, tmp_path: Path) -> None:
    tracker, _ = start(tmp_path, plan("study.seeds=2", *SMALL), FakeTraining())
    before = leaderboard(tracker, NAME)
    own = run_of(tracker, "variant")
    if edit == "renamed":
        own.name = "edited"
    elif edit == "deleted":
        tracker.trash.add(own.run_id)
    else:
        del tracker._runs[own.run_id]
    run_of(tracker, "seed").name = "edited too"
    board, _ = publish(tracker, NAME)
    assert board.document() == before.document()
    assert (board.rows[0].cell == before.rows[0].cell) == (edit != "purged")
    assert (board.rows[0].run_id is None) == (edit != "renamed")
    assert own.status == ("FINISHED" if edit == "renamed" else "RUNNING")
    assert BEST in build(read(tracker, NAME)).markdown()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("seed", "first", "its tag 'seed' is 'first', which cannot be read"),
        ("seed", None, "its tag 'seed' is missing"),
        ("variant", None, "its tag 'variant' is missing"),
        ("seconds", "long", "its tag 'seconds' is 'long', which cannot be read"),
    ],
)
def test_an_unreadable_tag_is_named_with_its_run(
    key: str, value: str | None, words: str, tmp_path: Path
) -> None:
    tracker, _ = start(tmp_path, plan(*SMALL), FakeTraining())
    for run in tracker._runs.values():
        run.tags |= {"seconds": "1.0", "updates": "2"}
    edited = run_of(tracker, "seed")
    edited.tags.pop(key)
    if value is not None:
        edited.tags[key] = value
    with pytest.raises(InputError) as caught:
        build(read(tracker, NAME))
    assert words in str(caught.value)
    assert edited.run_id[:8] in str(caught.value)


def test_on_a_tie_what_ended_well_ranks_first_and_is_registered(tmp_path: Path) -> None:
    first, second = "noise · detached · full", "noise · detached · broadcast"
    study = plan("study.axes.next_input=['noise']", "study.axes.sampling=['detached']")
    tracker, _ = start(tmp_path, study, collapses(first))
    board = leaderboard(tracker, NAME)
    assert [row.variant for row in board.rows] == [second, first]
    assert board.rows[0].score == board.rows[1].score
    run_of(tracker, "seed", second).folder.joinpath("generator").mkdir(parents=True)
    run_id, _ = register(read(tracker, NAME), "writer")
    assert tracker.run(run_id).variant == second


@pytest.mark.parametrize(
    ("axis", "values"),
    [("train.batch_size", "[2, 2.0]"), ("train.generator_lr", "[1e-3, 0.001]"),
     ("sampling", "['detached', {name='detached'}]")],
)  # fmt: skip
def test_equal_levels_are_one_level(axis: str, values: str) -> None:
    with pytest.raises(InputError, match="is listed twice"):
        plan(f"study.axes={{{axis!r}={values}}}")


def test_a_study_takes_a_name_that_nothing_ever_had(tmp_path: Path) -> None:
    tracker = open_tracker(f"sqlite:///{tmp_path}/mlflow.db")
    url = f"sqlite:///{tmp_path}/optuna.db"
    for name in ("a", "a-2"):
        tracker.start_run(name, "x", params={}, tags={}).flush()
    client = tracker.store.client
    client.delete_experiment(client.get_experiment_by_name("a").experiment_id)
    for used in ("a-3", "a-4 / search"):
        optuna.create_study(storage=queue.open_storage(url), study_name=used)
    assert free_name("a", tracker, url) == "a-5"
    assert free_name("b", tracker, url) == "b"
