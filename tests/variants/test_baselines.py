"""Baselines and returns against their plain definitions; what is remembered is saved."""

from __future__ import annotations

from pathlib import Path

import torch

from core.tracking.memory import MemoryTracker
from experiments.single_run.run import run
from tests.conftest import tiny
from variants.estimator import MovingBaseline, discounted, subtract_others

DENSE = (
    "generator.name=lstm",
    "generator.width=8",
    "next_input.name=last_token",
    "noise_mapping.name=none",
    "sampling.name=categorical",
    "estimator.name=dense_reinforce",
    "discriminator.name=lstm",
    "discriminator.width=8",
    "discriminator.hidden=8",
    "objective.name=minimax",
    "penalty.name=none",
    "model.mask_after_eos=true",
)


def test_leave_one_out_is_the_others_mean_at_each_step() -> None:
    torch.manual_seed(0)
    rewards = torch.randn(5, 3)
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0]]).bool()
    found = subtract_others(rewards, mask)
    for i in range(5):
        for t in range(3):
            others = [rewards[j, t] for j in range(5) if j != i and mask[j, t]]
            mean = torch.stack(others).mean() if others else torch.tensor(0.0)
            assert torch.allclose(found[i, t], rewards[i, t] - mean, atol=1e-6)
    N = len(rewards)
    assert torch.allclose(
        subtract_others(rewards), N / (N - 1) * (rewards - rewards.mean(0)), atol=1e-6
    )


def test_returns_are_discounted_sums() -> None:
    rewards = torch.tensor([[1.0, 2.0, 4.0]])
    assert discounted(rewards, 0.5).tolist() == [[3.0, 4.0, 4.0]]
    assert discounted(rewards, 0.0).tolist() == rewards.tolist()
    assert discounted(rewards, 1.0).tolist() == [[7.0, 6.0, 4.0]]


def test_a_moving_baseline_follows_what_is_visible() -> None:
    baseline = MovingBaseline(0.5)
    rewards, mask = torch.tensor([[2.0, 100.0], [4.0, 6.0]]), torch.tensor([[1, 0], [1, 1]]).bool()
    assert baseline.subtract(rewards, mask).tolist() == rewards.tolist()
    assert baseline.value == 2.0
    assert baseline.subtract(rewards).tolist() == (rewards - 2).tolist()


def test_baselines_go_on_after_a_kill(tmp_path: Path) -> None:
    settings = (*DENSE, "train.updates=6", "train.checkpoint_every=2", "train.log_every=1",
                "evaluation.gradients=2")  # fmt: skip
    expected = run(tiny(*settings), tracker=MemoryTracker(tmp_path / "whole"))
    broken = MemoryTracker(tmp_path / "broken")

    class Killed(BaseException):
        pass

    def die(step: int, _: int | None, values: object) -> None:
        if step == 5:
            raise Killed

    try:
        run(tiny(*settings), tracker=broken, report=die)
    except Killed:
        (died,) = broken.runs()
    assert run(None, tracker=broken, resume=died.run_id).metrics == expected.metrics
