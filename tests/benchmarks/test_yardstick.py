"""The yardstick of the benchmarks keeps up with what it measures."""

from __future__ import annotations

import torch

from benchmarks.sizes import Setting
from benchmarks.yardstick import Yardstick
from core.kernels.torch import TORCH
from core.training.players import as_module

TINY = Setting(batch=2, length=4, vocabulary=11, light=True, micro_batch=None)


def test_the_yardstick_moves_both_players_with_kernels_of_torch() -> None:
    plain = Yardstick(TINY)
    assert plain.generator.kernels is TORCH  # type: ignore[attr-defined]
    plain.sample()
    for step, player in (
        (plain.generator_step, plain.generator),
        (plain.discriminator_step, plain.adversary.discriminator),
    ):
        module = as_module(player)
        before = {name: value.clone() for name, value in module.named_parameters()}
        step()
        moved = [not torch.equal(before[n], p) for n, p in module.named_parameters()]
        assert sum(moved) > len(moved) / 2
