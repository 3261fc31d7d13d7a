"""Generators, training steps and whole runs compute the same with both kernels, to rounding."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch

from core.interfaces import SamplingSpec
from core.kernels import choose
from core.kernels.cpu import CPU, CpuKernels
from core.kernels.torch import TORCH
from core.seeding import generator as stream
from core.tracking.memory import MemoryTracker
from core.training.loop import train_phase
from core.training.players import as_module, build, build_generator
from core.training.rollout import completions, sample
from core.training.state import TrainingState
from core.types import Phase
from experiments.single_run.run import run
from tests.conftest import tiny
from tests.core.test_generator import BODIES
from tests.core.test_steps import Batches, N, S, V, gradients_of
from variants import registry

DEVICE = torch.device("cpu")
KERNELS = ("auto", "torch")
SETTINGS = {
    "original": (),
    "one stream": ("next_input.name=last_token_noise", "noise_mapping.name=broadcast"),
    "straight-through": ("sampling.name=straight_through_gumbel", "train.micro_batch=2"),
    "soft feedback": ("sampling.name=gumbel_softmax", "sampling.feedback=soft"),
    "policy gradient": ("sampling.name=categorical", "estimator.name=leave_one_out",
                        "objective.name=hinge", "generator.name=lstm",
                        "model.mask_after_eos=true", "train.ema=0.9"),
    "completions": ("sampling.name=categorical", "estimator.name=rollout",
                    "objective.name=hinge"),
}  # fmt: skip


def test_they_are_chosen_by_device_and_setting() -> None:
    assert choose(DEVICE, "auto") is CPU
    assert choose(DEVICE, "torch") is TORCH
    assert choose(torch.device("cuda"), "auto") is TORCH


@pytest.mark.parametrize("setting", KERNELS)
def test_every_part_of_a_run_gets_them(setting: str) -> None:
    config = tiny(f"kernels={setting}", "train.ema=0.9", "sampling.name=gumbel_softmax")
    players = build(config, registry(), V, DEVICE)
    parts = [layer for _, module in players.modules() for layer in module.modules()]
    found = {type(part.kernels) for part in (*parts, players.sampling) if hasattr(part, "kernels")}
    assert found == {type(choose(DEVICE, config.kernels))}


@pytest.mark.parametrize("next_input", ["noise", "last_token"])
@pytest.mark.parametrize("body", [body for body in BODIES if body != "full"])
def test_rollouts_and_completions_draw_the_same_tokens(body: str, next_input: str) -> None:
    drawn = []
    for setting in KERNELS:
        config = tiny(*BODIES[body], f"next_input.name={next_input}", "sampling.name=categorical",
                      "estimator.name=leave_one_out", "objective.name=hinge",
                      f"kernels={setting}")  # fmt: skip
        generator = build_generator(config, registry(), V)
        as_module(generator).eval()
        spec = SamplingSpec(build(config, registry(), V, DEVICE).sampling)
        draw = sample(generator, spec, 5, stream(1, "noise"), 5)
        assert draw.noise is not None
        with torch.no_grad():
            parallel = generator.parallel(draw.tokens, draw.noise)
        torch.testing.assert_close(draw.hidden, parallel, rtol=1e-4, atol=1e-5)
        drawn.append((draw.tokens, completions(generator, spec, draw, 2, stream(2, "noise"))))
    for ours, defined in zip(*drawn, strict=True):
        assert torch.equal(ours, defined)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_step_of_each_player_has_the_same_gradients(name: str) -> None:
    found = []
    for setting in KERNELS:
        config = tiny(*SETTINGS[name], f"kernels={setting}", f"train.batch_size={N}",
                      f"model.length={S}")  # fmt: skip
        players = build(config, registry(), V, DEVICE)
        state = TrainingState(config, players, Batches(), DEVICE)  # type: ignore[arg-type]
        for player in ("discriminator", "generator"):
            train_phase(state, Phase(player, "adversarial"))
        found.append((gradients_of(players), dict(state.metrics)))
    (ours, values), (defined, same_values) = found
    assert ours.keys() == defined.keys()
    for key, gradient in defined.items():
        assert float((ours[key] - gradient).norm()) <= 1e-3 * float(gradient.norm()) + 1e-6, key
    assert values == pytest.approx(same_values, rel=1e-3, abs=1e-5)


def test_a_run_ends_with_the_same_numbers(tmp_path: Path) -> None:
    results = [
        run(tiny(f"kernels={setting}"), tracker=MemoryTracker(tmp_path / setting))
        for setting in KERNELS
    ]
    ours, defined = ({k: v for k, v in r.metrics.items() if v is not None} for r in results)
    assert ours == pytest.approx(defined, rel=1e-3, abs=1e-4)


def test_copies_keep_them() -> None:
    generator = build_generator(tiny(), registry(), V)
    copy = deepcopy(generator)
    assert isinstance(copy.kernels, CpuKernels)  # type: ignore[attr-defined]
    assert not any("kernels" in key for key in as_module(generator).state_dict())
