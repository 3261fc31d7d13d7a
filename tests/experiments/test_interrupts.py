"""An interrupt ends a run between two updates, saved; the second one ends it at once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from core import checkpoint
from core.tracking.null import MemoryTracker
from experiments.runner import run
from tests.conftest import tiny


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on_as_if_never_stopped(
    number: signal.Signals, tmp_path: Path
) -> None:
    config = tiny("train.updates=5", "train.log_every=1", "evaluation.every=1")
    expected = run(config, tracker=MemoryTracker(tmp_path / "whole"))
    tracker = MemoryTracker(tmp_path / "broken")

    def interrupt(step: int, _: int | None, values: object) -> None:
        if step == 3 and "train/generator_loss" in values:  # type: ignore[operator]
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt):
        run(config, tracker=tracker, report=interrupt)
    (record,) = tracker.runs()
    assert (record.outcome, record.status) == ("killed", "KILLED")
    kept = checkpoint.read(tmp_path / "broken" / "runs" / record.run_id / "checkpoint.safetensors")
    assert kept is not None
    assert kept.counters.update == 3
    assert 3 in dict(tracker.history(record.run_id, "eval/unique")), "the update was completed"
    assert run(None, tracker=tracker, resume=record.run_id).metrics == expected.metrics


def test_the_second_interrupt_does_not_wait(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)

    def interrupt(step: int, _: int | None, __: object) -> None:
        if step == 1:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(tiny("train.log_every=1"), tracker=tracker, report=interrupt)
    (record,) = tracker.runs()
    assert record.outcome == "killed"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
