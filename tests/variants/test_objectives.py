"""Objectives, penalties, schedules, temperatures: definitions spelled out plainly."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus as sp

from core.types import Embedded, Phase, Progress, Scores
from tests.conftest import tiny
from variants import registry


def make(slot: str, name: str, **settings: Any) -> Any:
    strategy = registry().strategy(slot, name)
    return strategy(strategy.Config(**settings))


R, F = torch.randn(6, dtype=torch.float64), torch.randn(6, dtype=torch.float64)

DEFINITIONS = {
    "minimax": (sp(-R).mean() + sp(F).mean(), -sp(F).mean(), 2 * F.sigmoid() - 1),
    "non_saturating": (sp(-R).mean() + sp(F).mean(), sp(-F).mean(), F.sigmoid().log()),
    "reverse_kl": (sp(-R).mean() + sp(F).mean(), -F.mean(), F),
    "wasserstein": (F.mean() - R.mean(), -F.mean(), F),
    "hinge": ((1 - R).clamp(min=0).mean() + (1 + F).clamp(min=0).mean(), -F.mean(), F),
    "least_squares": (
        ((R - 1) ** 2).mean() / 2 + (F**2).mean() / 2,
        ((F - 1) ** 2).mean() / 2,
        -((F - 1) ** 2) / 2,
    ),
    "relativistic": (sp(-(R - F)).mean(), sp(-(F - R)).mean(), (F - R).sigmoid().log()),
    "relativistic_average": (
        sp(-(R - F.mean())).mean() + sp(F - R.mean()).mean(),
        sp(-(F - R.mean())).mean() + sp(R - F.mean()).mean(),
        (F - R.mean()).sigmoid().log() + (R - F.mean()).sigmoid().mean() * F,
    ),
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_losses_are_their_definitions(name: str) -> None:
    objective = make("objective", name)
    real, fake = Scores(R), Scores(F)
    d, g, reward = DEFINITIONS[name]
    assert torch.allclose(objective.discriminator(real, fake), d, atol=1e-12)
    assert torch.allclose(objective.generator(fake, real), g, atol=1e-12)
    assert torch.allclose(objective.reward(fake, real), reward, atol=1e-12)


def test_seqgans_reward_is_the_probability_itself() -> None:
    objective = make("objective", "minimax", reward="probability")
    assert torch.allclose(objective.reward(Scores(F), None), F.sigmoid(), atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(DEFINITIONS) - {"minimax"}))
def test_a_reward_has_the_slope_of_gs_loss(name: str) -> None:
    """Replacing a sentence moves the expected reward as it moves minus the loss, to first order."""
    objective, fake = make("objective", name), F.clone().requires_grad_(True)
    loss = objective.generator(Scores(fake), Scores(R))
    (slope,) = torch.autograd.grad(loss, fake)
    reward = objective.reward(Scores(fake), Scores(R))
    (of_reward,) = torch.autograd.grad(reward.mean(), fake)
    assert torch.allclose(of_reward, -slope, atol=1e-12)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_steps_behind_the_end_have_no_part(name: str) -> None:
    objective = make("objective", name)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    values = torch.randn(2, 3, dtype=torch.float64)
    changed = torch.where(mask, values, 50.0)
    real = Scores(torch.randn(2, 3, dtype=torch.float64), torch.ones(2, 3, dtype=torch.bool))
    fakes = [Scores(v, mask) for v in (values, changed)]
    assert torch.allclose(*(objective.discriminator(real, fake) for fake in fakes), atol=1e-12)
    assert torch.allclose(*(objective.generator(fake, real) for fake in fakes), atol=1e-12)
    rewards = [objective.reward(Scores(v, mask), real)[mask] for v in (values, changed)]
    assert torch.allclose(*rewards, atol=1e-12)


@pytest.mark.parametrize("name", ["minimax", "non_saturating", "reverse_kl", "least_squares"])
def test_labels_are_smoothed_on_the_real_side(name: str) -> None:
    s, objective = 0.1, make("objective", name, label_smoothing=0.1)
    if name == "least_squares":
        plain = ((R - 0.9) ** 2).mean() / 2 + (F**2).mean() / 2
    else:
        plain = ((1 - s) * sp(-R) + s * sp(R)).mean() + sp(F).mean()
    assert torch.allclose(objective.discriminator(Scores(R), Scores(F)), plain, atol=1e-12)


class Quadratic:
    """D(x) = sum of (x a)^2, whose gradient is known."""

    offers = frozenset({"scores"})

    def __init__(self) -> None:
        self.a = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
        self.embedding = torch.eye(2, dtype=torch.float64)

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        return ((embedded @ self.a) ** 2).sum(1)


@pytest.mark.parametrize("name", ["r1", "r2", "r1_r2"])
def test_slopes_are_penalised_where_they_should(name: str) -> None:
    D, penalty = Quadratic(), make("penalty", name, gamma=3.0)
    shape = (4, 5, 2)
    real, fake = (
        Embedded(torch.randn(shape, dtype=torch.float64, requires_grad=True)) for _ in range(2)
    )
    found = penalty(D, real, fake, penalty.draw(4, torch.Generator()))

    def plain(rows: Embedded) -> Tensor:  # the gradient of a row is 2 (x a) a
        slopes = 2 * (rows.values @ D.a).unsqueeze(-1) * D.a
        return 1.5 * slopes.square().sum((1, 2)).mean()

    parts = {"r1": [real], "r2": [fake], "r1_r2": [real, fake]}[name]
    expected = torch.stack([plain(part) for part in parts]).sum()
    assert torch.allclose(found, expected, atol=1e-10)
    for loss in (found, expected):
        D.a.grad = None
        loss.backward()
        if loss is found:
            ours = D.a.grad
    assert ours is not None
    assert torch.allclose(ours, D.a.grad, atol=1e-10)  # type: ignore[arg-type]


def test_temperatures_fall_over_the_runs_own_budget() -> None:
    linear, exponential = (
        make("temperature", n, beta_max=100.0) for n in ("linear", "exponential")
    )
    assert [linear(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([1, 1 / 50.5, 0.01])
    assert [exponential(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([1, 0.1, 0.01])


def phases(schedule: Any, update: int, epoch: int = 10) -> list[Phase]:
    history: dict[str, list[float]] = {"generator": [], "discriminator": []}
    return list(schedule.phases(Progress(update, history, epoch)))


def test_pretraining_is_as_long_as_asked() -> None:
    schedule = make(
        "schedule",
        "pretrain",
        generator_epochs=1.5,
        generator_updates=2,
        generator_lr=1e-2,
        discriminator_updates=3,
        n_d=4,
    )
    likelihood = [Phase("generator", "likelihood", lr=1e-2, pretraining=True)]
    of_d = [Phase("discriminator", "adversarial", pretraining=True)]
    game = [Phase("discriminator", "adversarial", 4), Phase("generator", "adversarial")]
    begin = [game[0], Phase("generator", "adversarial", reset_optimiser=True)]
    assert phases(schedule, 0) == phases(schedule, 16) == likelihood
    begin_d = Phase("discriminator", "adversarial", reset_optimiser=True, pretraining=True)
    assert phases(schedule, 17) == [begin_d]
    assert phases(schedule, 18) == phases(schedule, 19) == of_d
    assert phases(schedule, 20) == begin
    assert phases(schedule, 21) == phases(schedule, 1000) == game
    without = make("schedule", "pretrain", generator_updates=1, n_d=4)
    assert [phase.reset_optimiser for phase in phases(without, 1)] == [True, True]
    assert phases(without, 2) == game


def test_likelihood_is_interleaved() -> None:
    schedule = make("schedule", "interleaved", every=3)
    losses = [[phase.loss for phase in phases(schedule, update)] for update in range(4)]
    assert [kinds.count("likelihood") for kinds in losses] == [1, 0, 0, 1]
    assert all(kinds.count("adversarial") == 2 for kinds in losses)


def test_phases_set_their_learning_rate() -> None:
    from core.training.loop import train_phase
    from core.training.players import build
    from core.training.state import TrainingState
    from tests.core.test_steps import CPU, Batches, N, V

    config = tiny(f"train.batch_size={N}", "next_input.name=last_token")
    players = build(config, registry(), V, CPU)
    state = TrainingState(config, players, Batches(), CPU)  # type: ignore[arg-type]
    for rate in (1e-2, None):
        train_phase(state, Phase("generator", "likelihood", lr=rate))
        found = players.trainable["generator"].optimiser.param_groups[0]["lr"]
        assert math.isclose(found, rate or config.train.generator_lr)


def test_a_phase_that_begins_anew_has_an_optimiser_without_moments() -> None:
    from core.training.loop import train_phase
    from core.training.players import build
    from core.training.state import TrainingState
    from tests.core.test_steps import CPU, Batches, N, V

    players = build(tiny(f"train.batch_size={N}"), registry(), V, CPU)
    state = TrainingState(tiny(f"train.batch_size={N}"), players, Batches(), CPU)  # type: ignore[arg-type]
    counted = []
    for anew in (False, False, True):
        train_phase(state, Phase("generator", "adversarial", reset_optimiser=anew))
        counted.append(
            {int(kept["step"]) for kept in players.trainable["generator"].optimiser.state.values()}
        )
    assert counted == [{1}, {2}, {1}]
