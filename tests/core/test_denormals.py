"""Numbers below the normal ones are zero in a step, and outside they are what they were."""

from __future__ import annotations

import sys

import pytest
import torch

from core.interfaces import StepContext
from core.process import denormals_are_zero
from core.training.loop import train_phase
from core.training.players import as_module, build
from core.training.state import TrainingState
from core.types import Phase
from tests.conftest import tiny
from tests.core.test_steps import Batches, V
from variants import registry

TINY = torch.tensor([2e-38])


def product() -> float:
    return float((TINY * 0.1)[0])


@pytest.fixture(autouse=True)
def able() -> None:
    able = torch.set_flush_denormal(True)
    torch.set_flush_denormal(False)
    if not able:
        pytest.skip("this processor computes with denormal numbers alone")


def test_only_inside() -> None:
    before = product()
    with denormals_are_zero():
        inside = product()
        with denormals_are_zero():
            pass
        still = product()
    assert (inside, still) == (0.0, 0.0)
    assert before == product() != 0


def test_in_a_step() -> None:
    class Few(Batches):
        sentences = 4

    config, found = tiny(), []
    players = build(config, registry(), V, torch.device("cpu"))
    state = TrainingState(config, players, Few(), torch.device("cpu"))  # type: ignore[arg-type]

    def loss(_: StepContext) -> torch.Tensor:
        found.append(product())
        return sum(p.sum() for p in as_module(players.generator).parameters())  # type: ignore[return-value]

    train_phase(state, Phase("generator", loss))
    assert found == [0.0]
    assert product() != 0


def test_what_somebody_else_asked_for_stays() -> None:
    torch.set_flush_denormal(True)
    try:
        with denormals_are_zero():
            pass
        assert product() == 0
    finally:
        torch.set_flush_denormal(False)
    assert sys.float_info.min / 2 > 0
