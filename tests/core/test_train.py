"""Seeds reproduce, and a run that was killed and resumed equals one that never was, bit for bit."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from core.errors import InputError, MachineError
from core.seeding import Streams, derive
from core.tracking.memory import MemoryRun, MemoryTracker
from core.tracking.mlflow_store import open_tracker
from core.training import checkpoint
from core.training import loop as train
from experiments.single_run.evaluator import Evaluator
from experiments.single_run.run import run
from tests.conftest import ROOT, tiny

SCRIPT = """
import sys; sys.path.insert(0, {root!r})
from pathlib import Path
from tests.conftest import tiny
from core.tracking.memory import MemoryRun, MemoryTracker
from experiments.single_run.run import run
import json
tracker = MemoryTracker(Path({store_dir!r}))
result = run(tiny(), tracker=tracker)
assert "scipy.stats" not in sys.modules, "its import takes half a second of every start"
print(json.dumps([result.run_id, dict(result.metrics)]))
"""


def weights(tracker: MemoryTracker, run_id: str) -> dict[str, torch.Tensor]:
    return load_file(tracker.model(run_id) / "generator.safetensors")


def test_a_seed_reproduces_in_another_process(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path / "here")
    ours = run(tiny(), tracker=tracker)
    script = SCRIPT.format(root=str(ROOT), store_dir=str(tmp_path / "there"))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    run_id, metrics = json.loads(done.stdout.splitlines()[-1])
    assert metrics == dict(ours.metrics)
    theirs = load_file(tmp_path / "there/artifacts" / run_id / "generator/generator.safetensors")
    for name, value in weights(tracker, ours.run_id).items():
        assert torch.equal(value, theirs[name])


def test_another_seed_differs(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    a, b = (run(tiny(f"seed={seed}"), tracker=tracker) for seed in (0, 1))
    assert a.metrics != b.metrics


class Killed(BaseException):
    """Stands for a kill: nothing after it runs."""


@pytest.mark.parametrize("system", ["gan", "mle"])
def test_killed_and_resumed_equals_never_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    config = tiny(
        "train.updates=7", "train.checkpoint_every=2", "train.log_every=1", "train.ema=0.5",
        "evaluation.gradients=2",
    )  # fmt: skip
    if system == "mle":
        config = mle()
    whole = MemoryTracker(tmp_path / "whole")
    expected = run(config, tracker=whole)
    broken = MemoryTracker(tmp_path / "broken")

    def die(step: int, _: int | None, values: object) -> None:
        if step == 5 and "train/generator_loss" in values:  # type: ignore[operator]
            raise Killed

    with pytest.raises(Killed):
        run(config, tracker=broken, report=die)
    (died,) = broken.runs()
    resumed = run(None, tracker=broken, resume=died.run_id)
    assert resumed.metrics == expected.metrics
    assert resumed.updates == expected.updates
    for name, value in weights(whole, expected.run_id).items():
        assert torch.equal(value, weights(broken, resumed.run_id)[name])
    for metric in ("train/generator_loss", "eval/unique", "eval/bleu_2"):
        assert broken.history(died.run_id, metric) == whole.history(expected.run_id, metric)
    ours, theirs = (
        t.artifact(r.run_id, "samples.json").read_text()
        for t, r in ((whole, expected), (broken, resumed))
    )
    assert ours == theirs


def mle():  # type: ignore[no-untyped-def]
    from experiments.loading import load

    return load(
        "mle",
        [
            "model.length=12",
            "train.updates=7",
            "train.checkpoint_every=2",
            "train.log_every=1",
            "train.batch_size=8",
            "corpus.difficulty=easy",
            "corpus.sentences=300",
            "train.ema=0.5",
            "evaluation.every=3",
            "evaluation.sentences=20",
            "evaluation.references=20",
        ],
    )


def test_a_run_that_died_before_its_first_checkpoint_starts_anew(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)

    def die(step: int, _: int | None, __: object) -> None:
        raise Killed

    with pytest.raises(Killed):
        run(tiny(), tracker=tracker, report=die)
    (died,) = tracker.runs()
    assert run(None, tracker=tracker, resume=died.run_id).run_id == died.run_id
    again = run(None, tracker=tracker, resume=died.run_id)
    assert again.metrics == run(tiny(), tracker=MemoryTracker(tmp_path / "x")).metrics


@pytest.mark.parametrize("at", ["log_params", "log_text", "log_dataset"])
def test_a_run_that_died_while_it_was_begun_has_everything_once_it_was_gone_on_with(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = MemoryTracker(tmp_path)
    honest = MemoryTracker.start_run

    def die(*_: object) -> None:
        raise Killed

    def without_params(self: MemoryTracker, *names: str, **values: Any) -> MemoryRun:
        return honest(self, *names, **{**values, "params": {}})

    with monkeypatch.context() as broken:
        broken.setattr(MemoryTracker, "start_run", without_params)  # they come after the run
        broken.setattr(MemoryRun, "log_dataset" if at == "log_params" else at, die)
        with pytest.raises(Killed):
            run(tiny(), tracker=tracker)
    (died,) = tracker.runs()
    assert "dataset" not in died.tags
    run(None, tracker=tracker, resume=died.run_id)
    (record,) = tracker.runs()
    assert record.params["train.updates"] == "4"
    assert record.tags["dataset"] == record.tags["corpus"]
    assert tracker.artifact(record.run_id, "config.toml").read_text() == tiny().toml()


def test_mlflow_keeps_each_step_once_after_a_resume(tmp_path: Path) -> None:
    tracker = open_tracker(f"sqlite:///{tmp_path}/mlflow.db")
    config = tiny("train.log_every=1", "train.checkpoint_every=2")

    def die(step: int, _: int | None, values: object) -> None:
        if step == 3:
            raise Killed

    with pytest.raises(Killed):
        run(config, tracker=tracker, report=die)
    (died,) = tracker.runs()
    result = run(None, tracker=tracker, resume=died.run_id)
    steps = [step for step, _ in tracker.history(result.run_id, "train/generator_loss")]
    assert steps == [1, 2, 3, 4]


def test_a_damaged_checkpoint_gives_way_to_the_previous(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c.safetensors"
    for update in (1, 2):
        counters = checkpoint.Counters(update=update)
        checkpoint.write(path, {"weights.x": torch.tensor([float(update)])}, counters)
    newest = checkpoint.read(path)
    assert newest is not None
    assert newest.counters.update == 2
    path.write_bytes(path.read_bytes()[:-10])
    assert not caplog.messages
    previous = checkpoint.read(path)
    assert caplog.messages == [f"{path} is damaged; going on from the one before it"]
    assert previous is not None
    assert previous.counters.update == 1
    path.with_suffix(".previous").write_bytes(b"nothing")
    with pytest.raises(MachineError, match="no checkpoint can be read"):
        checkpoint.read(path)


@pytest.mark.parametrize("found", ["0", "2"])
def test_a_checkpoint_of_another_format_is_refused_in_words(
    found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.safetensors"
    tensors = {"weights.x": torch.ones(1)}
    checkpoint.write(path, tensors, checkpoint.Counters(1))
    with monkeypatch.context() as other:
        other.setattr(checkpoint, "FORMAT", found)
        checkpoint.write(path, tensors, checkpoint.Counters(2))
    with pytest.raises(MachineError, match=f"checkpoint format {found}, this version reads 1"):
        checkpoint.read(path)  # not the one before it: that would be an update lost in silence


def test_an_interrupt_is_killed_and_resumable(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)

    def interrupt(step: int, _: int | None, __: object) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tiny("train.log_every=1"), tracker=tracker, report=interrupt)
    (record,) = tracker.runs()
    assert (record.outcome, record.status) == ("killed", "KILLED")
    assert run(None, tracker=tracker, resume=record.run_id).outcome == "ok"


@pytest.mark.parametrize(("clock", "other"), [("wall", "cpu"), ("cpu", "wall")])
def test_minutes_are_counted_on_the_clock_that_is_named(
    clock: str, other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    monkeypatch.setitem(train.CLOCKS, clock, lambda: 6.0 * next(ticks))
    monkeypatch.setitem(train.CLOCKS, other, lambda: 0.0)
    tracker = MemoryTracker(tmp_path)
    config = tiny("train.updates=50", "train.minutes=0.65", f"train.clock='{clock}'")
    result = run(config, tracker=tracker)
    assert tracker.run(result.run_id).tags["updates"] == "7"  # 42 seconds are the first beyond 39


def test_evaluations_are_in_no_budget_of_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick is an update; an evaluation, however long, is counted apart."""
    now = itertools.accumulate(itertools.repeat(1.0))
    monkeypatch.setitem(train.CLOCKS, "wall", lambda: next(now))
    diagnose = Evaluator.diagnoses

    def slow(self: Evaluator, gradients: int) -> dict[str, float | None]:
        for _ in range(1000):
            next(now)
        return diagnose(self, gradients)

    monkeypatch.setattr(Evaluator, "diagnoses", slow)
    tracker = MemoryTracker(tmp_path)
    config = tiny("train.updates=50", "train.minutes=0.15", "evaluation.every=4")
    tags = tracker.run(run(config, tracker=tracker).run_id).tags
    assert (tags["updates"], tags["seconds"]) == ("9", "9.0")
    assert tags["evaluation_seconds"] == "4004.0"  # at updates 0, 4, 8 and 9


def test_an_infinite_loss_is_a_result(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    config = tiny(
        "train.discriminator_lr=0.99",
        "train.generator_lr=0.99",
        "penalty.weight=1e30",
        "train.updates=200",
    )
    result = run(config, tracker=tracker)
    assert result.outcome == "diverged"
    assert "update" in tracker.run(result.run_id).tags["reason"]


def test_a_run_that_gives_up_has_the_metrics_of_a_last_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collapsed run is scored as it is, so it needs the score too."""
    monkeypatch.setattr("experiments.single_run.evaluator.collapse", lambda *_: "all are alike")
    config = tiny("train.updates=50", "evaluation.collapse_patience=2", "evaluation.sentences=100",
                  "evaluation.references=100")  # fmt: skip
    tracker = MemoryTracker(tmp_path)
    result = run(config, tracker=tracker)
    assert (result.outcome, result.updates) == ("collapsed", 4)
    first = next(iter(tracker.run(result.run_id).metrics))
    assert first.startswith("eval/"), "the UI shows the metrics in this order"
    reason = tracker.run(result.run_id).tags["reason"]
    assert reason == "all are alike; stopped at update 4 after 2 such evaluations"
    assert [step for step, _ in tracker.history(result.run_id, "eval/jsd_bound")] == [4]


def test_resuming_with_another_configuration_is_refused(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)

    def die(step: int, _: int | None, __: object) -> None:
        raise Killed

    with pytest.raises(Killed):
        run(tiny(), tracker=tracker, report=die)
    with pytest.raises(InputError, match=r"train\.batch_size"):
        run(tiny("train.batch_size=9"), tracker=tracker, resume=tracker.runs()[0].run_id)


def test_streams_are_independent_and_restorable() -> None:
    assert derive(0, "noise") != derive(0, "penalty") != derive(1, "penalty")
    streams = Streams(7, torch.device("cpu"))
    torch.rand(3, generator=streams["noise"])
    state = streams.state()
    expected = torch.rand(3, generator=streams["noise"])
    other = Streams(7, torch.device("cpu"))
    other.restore(state)
    assert torch.equal(torch.rand(3, generator=other["noise"]), expected)
