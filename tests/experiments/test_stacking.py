"""Runs that are trained together keep a record, a checkpoint and an end of their own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from core import checkpoint
from core.config import Config
from core.errors import InputError
from core.tracking.null import MemoryTracker
from core.train import Stopped
from experiments.runner import run
from experiments.stacking import train_together
from experiments.wanted import Result
from tests.conftest import tiny

Report = Callable[[int, int | None, Any], None]
SHORT = ("sampling.name=detached", "train.updates=5", "train.log_every=1", "evaluation.every=5",
         "train.checkpoint_every=2")  # fmt: skip


def order(config: Config | None, **given: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("name", "parent_id", "resume", "report", "started"))
    return {"config": config, "experiment": "runs", "tags": {}, "tested": False, **nothing, **given}


def seeds(count: int, *overrides: str) -> list[Config]:
    return [tiny(*SHORT, *overrides, f"seed={seed}") for seed in range(count)]


def weights(tracker: MemoryTracker, run_id: str) -> dict[str, torch.Tensor]:
    return load_file(tracker.model(run_id) / "generator.safetensors")


def equal(a: MemoryTracker, first: str, b: MemoryTracker, second: str) -> None:
    """Weights, curves and what was evaluated are the same up to rounding."""
    ours, theirs = weights(a, first), weights(b, second)
    for name, value in ours.items():
        keys = value.shape[0] // 2 if name.endswith("key_value.bias") else 0  # nobody feels them
        assert torch.allclose(value[keys:], theirs[name][keys:], atol=1e-4, rtol=0), name
    for metric in ("train/generator_loss", "train/penalty", "eval/unique"):
        curves = a.history(first, metric), b.history(second, metric)
        assert len(curves[0]) == len(curves[1]) > 0
        assert curves[0] == [pytest.approx(point, abs=1e-3) for point in curves[1]]


def test_each_is_recorded_as_its_own_separate_run(tmp_path: Path) -> None:
    settings = seeds(2)
    stack, separate = (MemoryTracker(tmp_path / name) for name in ("stack", "separate"))
    begun: list[str] = []
    orders = [order(c, started=begun.append, tags={"level": "seed"}) for c in settings]
    together = train_together(stack, orders)
    for config, result, identity in zip(settings, together, begun, strict=True):
        assert isinstance(result, Result)
        assert (result.outcome, result.updates, result.run_id) == ("ok", 5, identity)
        alone = run(config, tracker=separate, tags={"level": "seed"})
        equal(stack, result.run_id, separate, alone.run_id)
        ours, theirs = stack.run(identity), separate.run(alone.run_id)
        assert ours.tags["stacked"] == "2"
        assert ours.tags.keys() - theirs.tags.keys() == {"stacked"}
        assert ours.params == theirs.params
        folders = (t.world / "runs" / r for t, r in ((stack, identity), (separate, alone.run_id)))
        kept = [sorted(path.name for path in folder.iterdir()) for folder in folders]
        assert kept[0] == kept[1]
        assert run(None, tracker=stack, resume=identity) == result


def test_an_interrupt_ends_all_of_them_resumable(tmp_path: Path) -> None:
    settings = seeds(2)
    broken, whole = (MemoryTracker(tmp_path / name) for name in ("broken", "whole"))

    def interrupt(step: int, _: int | None, values: Any) -> None:
        if step == 3 and "train/generator_loss" in values:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)  # ignored, where the tests run in the background
    killed = train_together(broken, [order(settings[0], report=interrupt), order(settings[1])])
    assert [type(answer) for answer in killed] == [KeyboardInterrupt] * 2
    assert signal.getsignal(signal.SIGINT) is before
    records = sorted(broken.runs(), key=lambda record: record.tags["seed"])
    for record in records:
        assert (record.outcome, record.status) == ("killed", "KILLED")
        kept = checkpoint.read(tmp_path / f"broken/runs/{record.run_id}/checkpoint.safetensors")
        assert kept is not None
        assert kept.counters.update == 3
    resumed = train_together(broken, [order(None, resume=record.run_id) for record in records])
    for config, answer in zip(settings, resumed, strict=True):
        assert isinstance(answer, Result)
        equal(broken, answer.run_id, whole, run(config, tracker=whole).run_id)


def test_what_one_comes_to_leaves_the_others_alone(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)

    def prune(step: int, _: int | None, __: Any) -> None:
        if step == 2:
            raise Stopped("pruned at update 2")

    def break_down(step: int, _: int | None, __: Any) -> None:
        if step == 3:
            raise RuntimeError("the disk")

    good, stops, fails, diverges = seeds(4)
    train = diverges.train.model_copy(update={"max_loss": 1e-6})
    diverges = diverges.model_copy(update={"train": train})
    missing = order(None)
    answers = train_together(
        tracker,
        [order(good), order(stops, report=prune), order(fails, report=break_down), missing,
         order(diverges)],
    )  # fmt: skip
    first, stopped, failed, nothing, diverged = answers
    assert isinstance(first, Result)
    assert (first.outcome, first.updates) == ("ok", 5)
    assert isinstance(stopped, Result)
    assert (stopped.outcome, stopped.updates) == ("killed", 2)
    assert isinstance(failed, RuntimeError)
    assert isinstance(nothing, InputError)
    assert isinstance(diverged, Result)
    assert (diverged.outcome, diverged.updates) == ("diverged", 0)
    assert "diverged.json" in [p.name for p in (tmp_path / "artifacts" / diverged.run_id).iterdir()]
    outcomes = {record.tags["seed"]: record.outcome for record in tracker.runs()}
    assert outcomes == {"0": "ok", "1": "killed", "2": "failed", "3": "diverged"}
    alone = MemoryTracker(tmp_path / "alone")
    equal(tracker, first.run_id, alone, run(good, tracker=alone).run_id)


@pytest.mark.parametrize("others", [0, 1])
def test_one_goes_on_as_in_its_stack_whoever_is_left(tmp_path: Path, others: int) -> None:
    """By itself, or beside a run that is begun only now: weights and curves to the bit."""
    settings = seeds(3)
    broken, whole = (MemoryTracker(tmp_path / name) for name in ("broken", "whole"))
    expected = train_together(whole, [order(config) for config in settings])[0]
    assert isinstance(expected, Result)

    def interrupt(step: int, _: int | None, values: Any) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    train_together(broken, [order(settings[0], report=interrupt), order(settings[1])])
    (first,) = (run_ for run_ in broken.runs() if run_.tags["seed"] == "0")
    if others:
        orders = [order(None, resume=first.run_id), order(settings[2])]
        resumed = train_together(broken, orders)[0]
    else:
        resumed = run(None, tracker=broken, resume=first.run_id)
    assert isinstance(resumed, Result)
    assert resumed.metrics == expected.metrics
    ours, theirs = weights(broken, resumed.run_id), weights(whole, expected.run_id)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    for metric in ("train/generator_loss", "train/discriminator_gradient_norm", "eval/unique"):
        assert broken.history(first.run_id, metric) == whole.history(expected.run_id, metric)
    assert broken.run(first.run_id).tags["stacked"] == "2"


def test_runs_of_other_shapes_are_trained_one_by_one(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    soft = tiny(*SHORT, "sampling.name=gumbel_softmax", "sampling.feedback=soft")
    wide = tiny(*SHORT, "generator.width=16")
    answers = train_together(tracker, [order(soft), order(wide), *map(order, seeds(2))])
    records = [tracker.run(answer.run_id) for answer in answers if isinstance(answer, Result)]
    assert [record.tags.get("stacked") for record in records] == [None, None, "2", "2"]
