"""The life of a study: budgets, lost workers, progress, what it will cost."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import signal
import socket
import sqlite3
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from core.config import Config
from core.config.renamed import HASH_TAG
from core.errors import MachineError
from core.metrics.suite import Suite
from core.tracking.memory import MemoryTracker
from experiments.estimate import Estimate, estimate, show_plan, unlike
from experiments.generate import SentenceSampler
from experiments.single_run.evaluator import Evaluator
from studies.analysis.power import power
from studies.analysis.ranking import caveats
from studies.plan import Limit
from studies.report import read
from studies.running.execute import begin, run_workers, work
from studies.running.queue import (
    again,
    latest,
    limit_of,
    load_queue,
    progress,
    sweep,
)
from studies.running.storage import MOST_RETRIES, storage_url
from studies.running.worker import Worker
from tests.studies.test_studies import NAME, FakeTraining, plan, start
from variants import registry

FEW = ('study.axes.next_input=["noise"]', "study.seeds=2")  # 4 variants, 8 runs


def begun(tmp_path: Path, limit: Limit = Limit()) -> tuple[MemoryTracker, str]:  # noqa: B008
    tracker = MemoryTracker(tmp_path)
    url = storage_url(tracker)
    begin(plan(*FEW), NAME, tracker, url, "", limit)
    return tracker, url


def test_a_number_of_runs_is_a_budget(tmp_path: Path) -> None:
    tracker, url = begun(tmp_path, Limit(trials=3))
    work(NAME, tracker, url, training := FakeTraining(), registry())
    assert len(training.seen) == 3
    state = progress(load_queue(NAME, url), plan(*FEW).table)
    assert (state.done, state.waiting, state.total) == (3, 5, 8)


def test_a_study_that_was_begun_with_stacked_seeds_goes_on_one_run_at_a_time(
    tmp_path: Path,
) -> None:
    tracker, url = begun(tmp_path)
    queue = load_queue(NAME, url)
    stored = {"trials": None, "workers": 2, "closed": False, "stack": 3}
    queue.set_user_attr("limit", stored)
    assert limit_of(load_queue(NAME, url)) == Limit(workers=2)
    work(NAME, tracker, url, training := FakeTraining(), registry())
    assert len(training.seen) == 8
    for run in tracker.runs(NAME, tags={"level": "seed"})[:3]:
        tracker.continue_run(run.run_id).set_tags({"stacked": "3"})
    (said,) = (text for text in caveats(read(tracker, NAME)) if "stack-seeds" in text)
    assert said.startswith("3 of 8 runs were trained together")


def test_workers_have_failed_if_all_of_them_did(tmp_path: Path) -> None:
    run_workers(NAME, ["mkdir", str(tmp_path / "once")], 2)  # the second one fails
    with pytest.raises(MachineError, match=rf"every worker of study '{NAME}' failed \(exit sta"):
        run_workers(NAME, ["false"], 2)


def test_no_run_is_begun_that_would_not_end_in_time(tmp_path: Path) -> None:
    tracker, url = begun(tmp_path)
    work(NAME, tracker, url, training := FakeTraining(), registry(), until=0.0)
    assert training.seen == []
    work(NAME, tracker, url, training, registry(), until=datetime.now().timestamp() + 3600)
    assert len(training.seen) == 8


def _dead() -> int:
    process = multiprocessing.get_context("spawn").Process(target=int)
    process.start()
    process.join()
    assert process.pid is not None
    return process.pid


@pytest.mark.parametrize("death", ["process", "silence"])
def test_a_lost_workers_job_is_taken_over(
    tmp_path: Path, death: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker, url = begun(tmp_path)
    queue = load_queue(NAME, url)
    trial = queue.ask()
    job = (trial.user_attrs["variant"], trial.user_attrs["seed"])
    record = tracker.start_run(NAME, "begun", params={}, tags={"level": "seed", "seed": "0",
                               "variant": job[0]})  # fmt: skip
    trial.set_user_attr("run_id", record.run_id)
    if death == "process":
        trial.set_user_attr("process", [socket.gethostname(), _dead(), trial.number])
    else:  # killed between being taken and its first word, long ago
        monkeypatch.setattr("studies.running.queue.datetime", _Later)
    sweep(queue)
    again = latest(queue)[job]
    assert again.state == TrialState.WAITING
    assert again.user_attrs["run_id"] == record.run_id
    assert queue.trials[trial.number].state == TrialState.FAIL
    sweep(queue)
    assert len(queue.trials) == 9, "once"
    work(NAME, tracker, url, training := FakeTraining(), registry())
    assert [resumed for *key, resumed in training.seen if tuple(key) == job] == [record.run_id]
    assert len(training.seen) == 8


ONE = ('study.axes={sampling=["detached"]}', "study.seeds=1")  # a single job


@pytest.fixture
def single(tmp_path: Path) -> tuple[MemoryTracker, str]:
    tracker = MemoryTracker(tmp_path)
    begin(plan(*ONE), NAME, tracker, url := storage_url(tracker), "")
    return tracker, url


def worker(single: tuple[MemoryTracker, str], training: FakeTraining) -> Worker:
    tracker, url = single
    return Worker(load_queue(NAME, url), plan(*ONE), tracker, training, url)


def interrupted() -> FakeTraining:
    return FakeTraining(breaks=lambda *_: KeyboardInterrupt())  # type: ignore[arg-type,return-value]


def test_another_worker_may_take_an_interrupted_job_at_once(
    single: tuple[MemoryTracker, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = worker(single, interrupted()), worker(single, training := FakeTraining())

    def taken(*given: Any) -> None:
        again(*given)
        second.take_one()

    monkeypatch.setattr("studies.running.queue.again", taken)
    with pytest.raises(KeyboardInterrupt):
        first.take_one()
    ((*_, resumed),) = training.seen
    assert resumed is not None, "the same run goes on"
    assert progress(first.queue, first.study.table).done == 1


def test_an_interrupt_is_no_death_of_a_worker(single: tuple[MemoryTracker, str]) -> None:
    for _ in range(MOST_RETRIES + 1):
        with pytest.raises(KeyboardInterrupt):
            worker(single, interrupted()).take_one()
    queue = load_queue(NAME, single[1])
    trial = queue.ask()
    trial.set_user_attr("process", [socket.gethostname(), _dead(), trial.number])
    sweep(queue)
    assert progress(queue, plan(*ONE).table).waiting == 1


class _Later(datetime):
    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        return datetime.now() + timedelta(hours=1)


def test_what_an_earlier_version_wrote_of_a_process_is_read(tmp_path: Path) -> None:
    _, url = begun(tmp_path)
    queue = load_queue(NAME, url)
    trial = queue.ask()
    trial.set_user_attr("process", [socket.gethostname(), _dead()])
    sweep(queue)
    assert queue.trials[trial.number].state == TrialState.RUNNING, "until the grace period is over"


def test_a_job_that_is_being_run_is_left_alone(tmp_path: Path) -> None:
    import os

    _, url = begun(tmp_path)
    queue = load_queue(NAME, url)
    trial = queue.ask()
    trial.set_user_attr("process", [socket.gethostname(), os.getpid(), trial.number])
    sweep(queue)
    assert queue.trials[trial.number].state == TrialState.RUNNING
    optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.mark.parametrize("version", ["v3.0.0.d", "v9.0.0.z"])  # Optuna's older one; a later one
def test_a_queue_of_another_version_of_optuna_is_refused_in_words(
    tmp_path: Path, version: str
) -> None:
    _, url = begun(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "optuna.db")) as tables:
        tables.execute("UPDATE alembic_version SET version_num = ?", (version,))
        tables.commit()
    with pytest.raises(MachineError, match="written by another version of Optuna") as refused:
        load_queue(NAME, url)
    assert f"optuna storage upgrade --storage {url}" in str(refused.value)


def test_a_dry_run_says_time_and_disk_and_from_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.estimate.SECONDS", 0.05)
    monkeypatch.setattr("experiments.estimate.CALIBRATED", 1)
    study = plan(*FEW, "corpus.sentences=300", "evaluation.sentences=20", "train.batch_size=4",
                 "evaluation.references=20", "corpus.difficulty=easy")  # fmt: skip
    tracker = MemoryTracker(tmp_path)
    show_plan(study, Limit(workers=2), tracker, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert (document["study"], document["runs"], document["seeds"]) == (NAME, 8, [0, 1])
    assert len(document["variants"]) == 4
    assert "calibration of 1 of 4" in document["estimated_from"]
    assert document["seconds"] == pytest.approx(document["seconds_a_run"] * 4)
    assert document["bytes"] > 8 * 10_000
    assert not (tmp_path / "corpora").exists()
    for variant in study.variants:
        tags = {HASH_TAG: variant.config.config_hash()}
        tracker.start_run(NAME, "before", params={}, tags=tags).finish("ok")
    known = estimate(study.kind.plan(()).jobs, _Ended(tracker))  # type: ignore[arg-type]
    assert known.seconds == pytest.approx(5.0)
    assert known.source == "from 4 runs like these in the store"


def test_what_is_calibrated_has_every_level_of_every_axis_of_two() -> None:
    configs = [variant.config for variant in plan().variants]
    picked = unlike(configs, 2)
    assert [each.sampling.name for each in picked] == ["detached", "gumbel_softmax"]
    assert len({each.next_input.name for each in picked}) == 2
    assert len({each.noise_mapping.name for each in picked}) == 2
    assert unlike(configs[:1], 3) == configs[:1]


def test_a_long_evaluation_is_estimated_from_a_share_of_its_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.estimate.SECONDS", 0.05)
    monkeypatch.setattr("experiments.estimate.LONG", 0.0)
    drawn: list[int] = []
    tokens = SentenceSampler.tokens

    def counted(self: SentenceSampler, n: int, *given: Any) -> list[list[str]]:
        drawn.append(n)
        return tokens(self, n, *given)

    monkeypatch.setattr(SentenceSampler, "tokens", counted)
    study = plan("corpus.sentences=300", "evaluation.sentences=640", "train.batch_size=4",
                 "evaluation.references=20", "corpus.difficulty=easy")  # fmt: skip
    found = estimate(study.kind.plan(()).jobs[:1], MemoryTracker(tmp_path))
    assert drawn == [10, 10, 20], "the first call compiles; the others tell the constant part"
    assert (found.seconds or 0) > 0


def test_what_only_the_first_evaluation_needs_is_not_extrapolated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.estimate.SECONDS", 0.05)
    monkeypatch.setattr("experiments.estimate.SLOW", 0.1)
    evaluate, took = Suite.evaluate, [0.5]

    def slow_at_first(*given: Any) -> Any:
        time.sleep(took.pop() if took else 0.0)
        return evaluate(*given)

    monkeypatch.setattr(Suite, "evaluate", slow_at_first)
    study = plan("corpus.sentences=300", "evaluation.sentences=640", "train.batch_size=4",
                 "evaluation.references=20", "corpus.difficulty=easy")  # fmt: skip
    found = estimate(study.kind.plan(()).jobs[:1], MemoryTracker(tmp_path))
    assert 0 < (found.seconds or 0) < 0.5 * 64, "64 times its sentences need no half minute"


def test_diagnoses_of_an_evaluation_are_estimated_from_two_gradients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.estimate.SECONDS", 0.05)
    asked: list[int] = []

    def slow(_: Evaluator, gradients: int) -> dict[str, float | None]:
        asked.append(gradients)
        time.sleep(0.2 * gradients)
        return {}

    monkeypatch.setattr(Evaluator, "diagnoses", slow)
    study = plan("corpus.sentences=300", "evaluation.sentences=20", "train.batch_size=4",
                 "evaluation.references=20", "corpus.difficulty=easy", "evaluation.gradients=10",
                 "train.updates=1", "evaluation.every=1")  # fmt: skip
    found = estimate(study.kind.plan(()).jobs[:1], MemoryTracker(tmp_path))
    assert asked == [2]
    assert (found.seconds or 0) > 3 * 10 * 0.2  # at its start, after its update, at its end


def test_a_dry_run_prints_the_plan_before_it_measures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes long is stopped by the CPU time it used, and then it is unknown."""
    said: list[str] = []

    def endless(*_: object) -> None:
        said.append(capsys.readouterr().out)
        while True:
            pass

    monkeypatch.setattr("experiments.estimate.open_corpus", endless)
    monkeypatch.setattr("experiments.estimate.CPU_SECONDS", 0.2)
    before, used = signal.getsignal(signal.SIGPROF), time.process_time()
    show_plan(plan(*FEW), Limit(), MemoryTracker(tmp_path), as_json=False)
    assert time.process_time() - used < 2
    assert "8 runs, ranked by" in said[0]
    after = capsys.readouterr().out
    assert after.startswith("time: unknown: no configuration was measured in 0.2 CPU seconds")
    assert "disk: unknown" in after
    assert (signal.getsignal(signal.SIGPROF), signal.getitimer(signal.ITIMER_PROF)[0]) == (
        before,
        0,
    )
    show_plan(plan(*FEW), Limit(), MemoryTracker(tmp_path), as_json=True, estimated=False)
    found = json.loads(capsys.readouterr().out)
    assert (found["runs"], found["seconds"], found["bytes"]) == (8, None, None)
    assert len(said) == 1, "nothing is measured"


def test_an_estimate_that_is_stopped_says_how_much_it_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the code that is measured catches: the limit is no `Exception`."""
    costs: list[Config] = []

    def second_takes_long(config: Config, *_: object) -> float:
        costs.append(config)
        if len(costs) == 2:
            with contextlib.suppress(Exception):
                signal.raise_signal(signal.SIGPROF)
        return 5.0

    nothing = (None, None, 1.0)
    monkeypatch.setattr("experiments.estimate._prepared", lambda *_: nothing)
    monkeypatch.setattr("experiments.estimate._run_seconds", second_takes_long)
    monkeypatch.setattr("experiments.estimate._bytes", lambda *_: 7)
    found = estimate(plan(*FEW).kind.plan(()).jobs, MemoryTracker(tmp_path))
    said = "from a short calibration of 1 of 4 configurations, stopped after 30 CPU seconds"
    assert found == Estimate(6.0, 7, said)


class _Ended:
    """A store whose runs took five seconds each."""

    def __init__(self, tracker: MemoryTracker) -> None:
        self._tracker, self.store_dir = tracker, tracker.store_dir

    def runs(self) -> list[object]:
        from dataclasses import replace

        return [replace(run, start=0, end=5000) for run in self._tracker.runs()]


def test_what_the_seeds_can_show(tmp_path: Path) -> None:
    tracker, _ = start(tmp_path, plan(*FEW), FakeTraining())
    (section,) = power(read(tracker, NAME))
    said = {row[0]: row[1:] for row in section.rows}
    assert said["correlation over shared seeds"] == ["1.00", "paired"]
    assert float(said["minimum detectable difference with 20 seeds"][0]) == pytest.approx(
        0, abs=1e-3
    )
    assert section.figures["profile"]().axes
    (tmp_path / "one").mkdir()
    alone, _ = start(tmp_path / "one", plan(FEW[0], "study.seeds=1"), FakeTraining())
    assert not [*power(read(alone, NAME))]
