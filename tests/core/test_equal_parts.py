"""A discriminator that starts as the pretrained generator."""

from __future__ import annotations

import pytest
import torch

from core.errors import InputError
from core.nn.discriminator_input import HardTokens
from core.training.players import build
from core.types import Shape
from tests.conftest import tiny
from tests.core.test_steps import CPU, V
from tests.variants.test_group_relative import SETTINGS, advance, state_of
from variants import registry

INHERITED = "train.discriminator_from_generator=true"
LATE = ("schedule.discriminator_updates=1", "train.discriminator_lr=1e-12")
SIZES = ("width=8", "hidden=8")


@pytest.mark.parametrize(
    "settings",
    [
        ("discriminator.name=lstm_last", *(f"discriminator.{size}" for size in SIZES)),
        ("discriminator.name=projection", *(f"discriminator.{size}" for size in SIZES)),
        ("discriminator.name=lstm", "discriminator.positions=0",
         *(f"discriminator.{size}" for size in SIZES)),
    ],
)  # fmt: skip
def test_equal_parts_take_the_weights_of_the_pretrained_generator(
    settings: tuple[str, ...],
) -> None:
    state = advance(state_of(*settings, *LATE, INHERITED), 3)  # G's pretraining, one step of D
    pairs = state.players.inherited
    assert len(pairs) >= 5
    assert all(torch.allclose(ours, theirs, atol=1e-9) for theirs, ours in pairs[:5])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("generator.name=relational_memory", "have no equal parts"),
        ("discriminator.name=cnn", "have no equal parts"),
        ("discriminator.hidden=9", "have no equal parts"),
        ("discriminator.positions=8", "have no equal parts"),
        ("schedule.name=adversarial", "needs a schedule with pretraining"),
    ],
)
def test_unequal_parts_are_refused(setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(tiny(*SETTINGS, setting, INHERITED), registry(), V, CPU)


def test_a_score_of_the_last_state_reads_nothing_after_the_end() -> None:
    strategy = registry().strategy("discriminator", "lstm_last")
    D = strategy(strategy.Config(width=4, hidden=4, layers=2), Shape(6, V))
    tokens = torch.tensor([[5, 6, 2, 0, 0, 0], [5, 6, 2, 9, 9, 9], [5, 6, 7, 8, 9, 4]])
    mask = torch.tensor([[True] * 3 + [False] * 3] * 2 + [[True] * 6])
    masked, cut = D(HardTokens(tokens, mask)), D(HardTokens(tokens[:, :3]))
    assert torch.allclose(masked[:2], cut[:2], atol=1e-6)
    assert torch.allclose(masked[2], D(HardTokens(tokens[2:]))[0], atol=1e-6)
    assert not torch.allclose(masked[2], cut[2])
