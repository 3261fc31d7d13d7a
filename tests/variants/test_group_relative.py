"""GRPO: groups share a prefix, the ratio is clipped, the reference is the pretrained generator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from core.config import Config
from core.errors import InputError
from core.training.checkpoint import Checkpoint
from core.training.discriminator_step import draw_fakes
from core.training.generator_batch import plan_batch
from core.training.loop import Trainer, train_phase
from core.training.players import as_module, build
from core.training.rollout import sample_with_grad
from core.training.state import TrainingState
from tests.conftest import tiny
from tests.core.test_steps import CPU, Batches, N, V
from variants import registry

SETTINGS = (
    "generator.name=lstm", "generator.width=8", "next_input.name=last_token",
    "next_input.first=start", "noise_mapping.name=none", "sampling.name=categorical",
    "objective.name=relativistic", "objective.reward=score", "penalty.name=none",
    "discriminator.name=lstm", "discriminator.width=8", "discriminator.hidden=8",
    "estimator.name=group_relative", "estimator.group=4", "model.mask_after_eos=true",
    "schedule.name=pretrain", "schedule.generator_updates=2", f"train.batch_size={N}",
    "train.generator_lr=1e-2", "train.updates=6",
)  # fmt: skip


def state_of(*overrides: str) -> TrainingState:
    config = tiny(*SETTINGS, *overrides)
    return TrainingState(config, build(config, registry(), V, CPU), Batches(), CPU)  # type: ignore[arg-type]


def advance(state: TrainingState, updates: int) -> TrainingState:
    """Train, without records and evaluations."""
    trainer = Trainer(state, lambda values, step: None)
    for _ in range(updates):
        for phase in trainer._phases():
            train_phase(state, phase)
        state.counters.update += 1
    return state


def test_g_comes_before_d_where_d_trains_on_its_sentences() -> None:
    """Likelihood stays first where the schedule has it first."""
    own = ("estimator.shared=true", "schedule={name='interleaved', every=2}")
    trainer = Trainer(state_of(*own), lambda values, step: None)
    assert trainer.state.adversary.plan.drawn_by == "generator"
    order = [(phase.player, phase.loss) for phase in trainer._phases()]
    assert order == [("generator", "likelihood"), ("generator", "adversarial"),
                     ("discriminator", "adversarial")]  # fmt: skip


class Fixed:
    """A context of fixed numbers."""

    def __init__(self, log_p: torch.Tensor, rewards: torch.Tensor, reference: torch.Tensor) -> None:
        self.log_p, self.given, self.reference = log_p, rewards, reference

    def log_probs(self) -> torch.Tensor:
        return self.log_p

    def reference_log_probs(self) -> torch.Tensor:
        return self.reference

    def masked(self, values: torch.Tensor) -> torch.Tensor:
        return values.index_fill(1, torch.tensor([3]), 0)  # the fourth token is after the end

    def rewards(self) -> Any:
        return self

    def per_sentence(self) -> torch.Tensor:
        return self.given


def make(**settings: Any) -> Any:
    strategy = registry().strategy("estimator", "group_relative")
    return strategy(strategy.Config(**settings))


def test_the_loss_is_the_clipped_surrogate_less_the_penalty() -> None:
    """Shao et al. 2024, equation 3, token by token."""
    torch.manual_seed(0)
    drawn, now, reference = (-torch.rand(4, 4, dtype=torch.float64) for _ in range(3))
    rewards = torch.tensor([1.0, 2.0, 4.0, 3.0], dtype=torch.float64)
    estimator = make(group=2, prefix=1, clip=0.2, kl=0.1)
    prepared = estimator.prepare(Fixed(drawn, rewards, reference))
    found = estimator.loss(Fixed(now, rewards, reference), prepared)
    expected = 0.0
    for i, row in enumerate(rewards.view(2, 2).repeat_interleave(2, dim=0)):
        advantage = (rewards[i] - row.mean()) / (row.std() + 1e-6)
        for t in (1, 2):  # two of the tokens are seen and not given
            ratio = (now[i, t] - drawn[i, t]).exp()
            gain = min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
            p = (reference[i, t] - now[i, t]).exp()
            expected -= float(gain - 0.1 * (p - p.log() - 1)) / 2 / 4
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_a_ratio_outside_the_clip_has_no_gradient() -> None:
    rewards, estimator = torch.tensor([1.0, 0.0]), make(group=2, clip=0.2, kl=0.0, per_token=False)
    prepared = estimator.prepare(Fixed(torch.full((2, 4), -1.0), rewards, rewards))
    log_p = torch.tensor([[-1.0, -0.5, -1.5, 0.0], [-1.0, -0.5, -1.5, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(
        estimator.loss(Fixed(log_p, rewards, rewards), prepared), log_p
    )
    moves = gradient.ne(0).tolist()
    assert moves[0] == [True, False, True, False]  # better: not further up than 1 + c
    assert moves[1] == [True, True, False, False]  # worse: not further down than 1 - c


def test_groups_and_fakes_begin_with_real_prefixes() -> None:
    state = advance(state_of("estimator.prefix=3"), 3)
    real = state.last_tokens()
    spec, compared = plan_batch(state.adversary.plan, state.sampling_spec(), real)
    rows = torch.arange(N) // 4
    draw = sample_with_grad(state.players.generator, spec, N, state.streams["noise"])
    assert torch.equal(draw.tokens[:, :3], real[rows, :3])
    assert torch.equal(compared.tokens, real[rows])  # type: ignore[attr-defined]
    assert len({tuple(row) for row in draw.tokens.tolist()}) > 2
    for k, fake in enumerate(draw_fakes(state, 3)):
        coming = Batches().batch(state.counters.batches + k)
        assert torch.equal(fake.tokens[:, :3], coming[:, :3])


def test_the_reference_is_the_pretrained_generator_and_is_saved() -> None:
    state = advance(state_of(), 2)
    pretrained = [p.clone() for p in as_module(state.players.generator).parameters()]
    advance(state, 2)
    reference = list(as_module(state.adversary.reference).parameters())
    assert all(map(torch.equal, reference, pretrained))
    assert not all(map(torch.equal, as_module(state.players.generator).parameters(), pretrained))
    again = state_of()
    again.restore(Checkpoint({k: v.clone() for k, v in state.tensors().items()}, state.counters))
    assert all(map(torch.equal, as_module(again.adversary.reference).parameters(), pretrained))


def test_every_epoch_is_a_step_on_the_same_sentences() -> None:
    def weights(epochs: int) -> Iterator[torch.Tensor]:
        state = advance(state_of(f"estimator.epochs={epochs}", "estimator.clip=0.01"), 3)
        steps = {
            int(kept["step"])
            for kept in state.players.trainable["generator"].optimiser.state.values()
        }
        assert steps == {epochs}
        yield from as_module(state.players.generator).parameters()

    assert not all(map(torch.equal, weights(1), weights(3)))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("estimator.group=3", "multiple of estimator.group = 3"),
        ("estimator.prefix=8", "estimator.prefix = 8 must be below 8, the length of sentences"),
        ("train.curriculum_start=3", "estimator.prefix = 3 must be below 3"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny(*SETTINGS, "estimator.prefix=3", setting)


def test_a_group_is_not_torn_apart_by_micro_batches() -> None:
    with pytest.raises(InputError, match=r"train.micro_batch = 4 needs losses"):
        state_of("train.micro_batch=4")


def test_without_a_penalty_no_reference_is_kept() -> None:
    config: Config = tiny(*SETTINGS, "estimator.kl=0.0")
    adversary = build(config, registry(), V, CPU).adversary
    assert adversary is not None
    assert adversary.reference is None
