"""The buffer of earlier generated sentences: what D sees of it, and that a checkpoint holds it."""

from __future__ import annotations

import pytest
import torch

from core.errors import InputError
from core.nn.discriminator_input import HardTokens
from core.seeding import generator as stream
from core.training.checkpoint import Checkpoint
from core.training.replay import Replay
from core.types import PAD
from tests.core.test_steps import CPU
from tests.variants.test_group_relative import advance, state_of

N, S = 6, 5
LEAVE_ONE_OUT = ("estimator.name=leave_one_out", "schedule.name=adversarial", "schedule.n_d=2")


def batch(number: int, steps: int = S) -> HardTokens:
    """Sentences that only this batch has."""
    return HardTokens(torch.arange(N * steps).view(N, steps) + 1000 * number + 4)


def test_half_of_a_batch_comes_from_earlier_ones() -> None:
    replay, rng = Replay(9, N, S, CPU), stream(0, "replay")
    assert replay.exchange(batch(1), rng).tokens.tolist() == batch(1).tokens.tolist()
    seen = {tuple(row) for row in batch(1).tokens.tolist()}
    for number in range(2, 20):
        found = replay.exchange(batch(number), rng)
        old, new = found.tokens[: N // 2].tolist(), found.tokens[N // 2 :].tolist()
        assert new == batch(number).tokens[N // 2 :].tolist()
        assert {tuple(row) for row in old} <= seen
        assert len({tuple(row) for row in old}) == N // 2
        seen |= {tuple(row) for row in new}
        assert len(replay.tokens) == min(9, 3 * number)
    ages = (replay.tokens[:, 0] // 1000).tolist()
    assert max(ages) == 19
    assert min(ages) < 17  # random places, not the oldest ones


def test_masks_belong_to_the_sentences_and_shorter_ones_are_padded() -> None:
    replay, rng = Replay(3, N, S, CPU), stream(0, "replay")
    short = batch(1, 3)
    short.tokens[:, 1] = 2
    replay.exchange(HardTokens(short.tokens, torch.ones(N, 3, dtype=torch.bool)), rng)
    assert replay.tokens[:, 3:].eq(PAD).all()
    found = replay.exchange(HardTokens(batch(2).tokens, torch.ones(N, S, dtype=torch.bool)), rng)
    assert found.mask is not None
    assert found.mask.sum(1).tolist() == [2] * 3 + [S] * 3


def test_a_resumed_run_replays_the_same_sentences() -> None:
    settings = (*LEAVE_ONE_OUT, "train.replay=10")
    whole = advance(state_of(*settings), 6)
    first = advance(state_of(*settings), 3)
    second = state_of(*settings)
    second.restore(Checkpoint({k: v.clone() for k, v in first.tensors().items()}, first.counters))
    advance(second, 3)
    assert whole.tensors()["replay.tokens"].shape == (10, 8)
    assert whole.tensors().keys() == second.tensors().keys()
    for key, value in whole.tensors().items():
        assert torch.equal(value, second.tensors()[key]), key
    without = advance(state_of(*LEAVE_ONE_OUT), 6)
    key = "weights.discriminator.embedding"
    assert not torch.equal(without.tensors()[key], whole.tensors()[key])


def test_a_replay_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match=r"train.replay = 3 must be at least 4"):
        state_of(*LEAVE_ONE_OUT, "train.replay=3")
    soft = ("sampling.name=gumbel_softmax", "estimator.name=pathwise", "objective.reward=relative")
    with pytest.raises(InputError, match=r"train.replay = 9 needs a sampling that offers hard tok"):
        state_of(*LEAVE_ONE_OUT, *soft, "train.replay=9")
    with pytest.raises(InputError, match=r"train.replay and train.curriculum_start do not go"):
        state_of(*LEAVE_ONE_OUT, "train.replay=9", "train.curriculum_start=5")
