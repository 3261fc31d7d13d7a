"""NaN, infinite, exploding losses: detected at the step, kept with the state, rolled back once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from core.errors import MachineError
from core.tracking.memory import MemoryTracker
from core.training import checkpoint, generator_step, loop
from core.training.optimisation import Diverged
from core.training.state import TrainingState
from core.types import Phase
from experiments.single_run import session
from experiments.single_run.run import run
from tests.conftest import tiny

SHORT = ("train.updates=8", "train.checkpoint_every=2", "train.log_every=1")


def poison(monkeypatch: pytest.MonkeyPatch, at: int, value: float, times: int) -> list[float]:
    """G's loss is `value` at update `at`, the first `times` times; the rates seen."""
    honest, left, rates = generator_step._generator_losses, [times], []

    def losses(state: TrainingState, *given: Any) -> Iterator[torch.Tensor]:
        for found in honest(state, *given):
            rates.append(state.players.trainable["generator"].optimiser.param_groups[0]["lr"])
            wrong = len(rates) >= at and left[0] > 0
            left[0] -= wrong
            yield found * 0 + value if wrong else found

    monkeypatch.setattr(generator_step, "_generator_losses", losses)
    return rates


@pytest.mark.parametrize("value", [math.nan, math.inf, -(2.0**40)])
def test_a_run_ends_as_diverged_with_the_state_that_led_there(
    value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, 6, value, 99)
    tracker = MemoryTracker(tmp_path)
    result = run(tiny(*SHORT), tracker=tracker)
    assert (result.outcome, result.updates) == ("diverged", 5)
    assert "update 6" in tracker.run(result.run_id).tags["reason"]
    kept = json.loads(tracker.artifact(result.run_id, "diverged.json").read_text())
    assert kept["updates"] == 5
    assert kept["values"]["generator_loss"] == (value if math.isfinite(value) else None)
    assert any(key.startswith("gradient/") for key in kept["values"])
    state = checkpoint.read(tmp_path / "runs" / result.run_id / "diverged.safetensors")
    assert state is not None
    assert state.counters.update == 5
    good = checkpoint.read(tmp_path / "runs" / result.run_id / "checkpoint.safetensors")
    assert good is not None
    assert good.counters.update == 4


def test_it_goes_back_once_with_smaller_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = poison(monkeypatch, 6, math.nan, 1)
    tracker = MemoryTracker(tmp_path)
    result = run(tiny(*SHORT, "train.rollback=0.5"), tracker=tracker)
    assert (result.outcome, result.updates) == ("ok", 8)
    assert "went back to update 4" in tracker.run(result.run_id).tags["rolled_back"]
    assert rates == [1e-4] * 6 + [5e-5] * 4
    steps = [step for step, _ in tracker.history(result.run_id, "train/generator_loss")]
    assert steps == list(range(1, 9))


def test_what_a_rule_picked_before_stays_its_pick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best evaluation is at update 5, after the checkpoint (4) and before the divergence."""
    poison(monkeypatch, 6, math.nan, 1)
    honest = TrainingState.update_picks

    def update_picks(self: TrainingState, values: dict[str, float | None]) -> None:
        best = 1.0 if self.counters.update == 5 and not self.counters.rollbacks else 0.1
        honest(self, {**values, "eval/unique": best})

    monkeypatch.setattr(TrainingState, "update_picks", update_picks)
    keep = ("evaluation.every=1", "evaluation.keep_best='eval/unique'")
    tracker = MemoryTracker(tmp_path)
    result = run(tiny(*SHORT, *keep, "train.rollback=0.5"), tracker=tracker)
    assert tracker.run(result.run_id).tags["best"] == "eval/unique 1 at update 5"
    kept = checkpoint.read(tmp_path / "runs" / result.run_id / "kept" / "best.safetensors")
    assert kept is not None
    assert kept.counters.update == 5


def test_the_second_time_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch, 2, math.nan, 2)
    evaluated = []
    honest = session.Session._evaluate

    def evaluate(self: session.Session) -> None:
        evaluated.append(self.state.counters.update)
        honest(self)

    monkeypatch.setattr(session.Session, "_evaluate", evaluate)
    result = run(tiny(*SHORT, "train.rollback=0.5"), tracker=MemoryTracker(tmp_path))
    assert (result.outcome, result.updates) == ("diverged", 0)
    assert evaluated == [0]  # what it went back to is evaluated already
    saved = checkpoint.read(tmp_path / "runs" / result.run_id / "checkpoint.safetensors")
    assert saved is not None
    assert saved.counters.rollbacks == 1  # so that a resumed run does not go back once more


def test_weights_that_are_not_finite_are_never_saved_or_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(state: TrainingState, phase: Phase) -> None:  # no loss tells
        next(state.players.trainable["generator"].module.parameters()).data[0] = math.inf
        state.record_loss(phase.player, 0.0)

    monkeypatch.setattr(loop, "train_phase", spoil)
    result = run(tiny("train.updates=2"), tracker=MemoryTracker(tmp_path))
    assert result.outcome == "diverged"


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, float | None]:
    """The metrics of a run that nothing interrupts."""
    return run(tiny(*SHORT), tracker=MemoryTracker(tmp_path_factory.mktemp("whole"))).metrics


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB"), "the GPU is out"),
        pytest.param(MemoryError(), "this machine is out of memory", marks=pytest.mark.slow),
        pytest.param(
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            "this machine",
            marks=pytest.mark.slow,
        ),
        (RuntimeError("CUDA error: device-side assert triggered\nmore"), "the GPU failed"),
        (OSError(28, "No space left on device", "x"), "x: no space left"),
        pytest.param(
            OSError(30, "Read-only file system", "x"), "read-only", marks=pytest.mark.slow
        ),
    ],
)
def test_the_machines_faults_get_words_and_keep_the_last_checkpoint(
    error: Exception, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    expected: Mapping[str, float | None],
) -> None:  # fmt: skip
    honest, calls = loop.train_phase, [0]

    def fail(state: TrainingState, phase: Phase) -> None:
        calls[0] += phase.repeats
        if calls[0] >= 12 > calls[0] - phase.repeats:
            raise error
        honest(state, phase)

    monkeypatch.setattr(loop, "train_phase", fail)
    tracker = MemoryTracker(tmp_path)
    with pytest.raises(MachineError, match=words):
        run(tiny(*SHORT), tracker=tracker)
    (record,) = tracker.runs()
    assert record.outcome == "failed"
    assert words in record.tags["reason"]
    assert run(None, tracker=tracker, resume=record.run_id).metrics == expected


def test_diverged_says_with_what() -> None:
    assert Diverged("words", {"a": 1.0}).values == {"a": 1.0}
