"""Every estimator against the exact gradient: its own target, the sequence objective, its noise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from scipy.stats import norm
from torch import Tensor

from core.nn.words import TokenWords
from core.rollout import Drawing, draw_for_gradient
from core.seeding import generator as stream
from core.turn import Turn
from variants.laboratory.targets import TARGETS, Case, gradient, sequence
from variants.laboratory.world import (
    LinearGenerator,
    SmallDiscriminator,
    StepDiscriminator,
    V,
    WordDiscriminator,
)
from variants.registry import Registry

Settings = Mapping[str, Any]
SURE = 0.999  # of all coordinates together


@dataclass(frozen=True)
class Row:
    """What one estimator came to; vectors are over G's weights."""

    label: str
    target: str  # the name of what it states to estimate
    scale: float  # ||target|| / ||the sequence objective's gradient||, exact
    bias: float  # ||target - that gradient|| / ||that gradient||, exact
    angle: float  # between the two in degrees, exact
    variance: float  # trace of the covariance over batches, in units of ||that gradient||^2
    signal_to_noise: float  # ||mean|| / sqrt(variance), a batch
    z: float  # largest standardised distance of the mean from the target, over coordinates
    bound: float  # of z, at SURE
    draws: int

    @property
    def agrees(self) -> bool:
        """Whether the mean is within its confidence interval of the exact target."""
        return self.z < self.bound


@dataclass(frozen=True)
class Setup:
    """Which strategies meet, with which settings."""

    label: str
    estimator: str
    settings: Settings
    sampling: str = "categorical"
    sampling_settings: Settings = field(default_factory=dict)
    objective: str = "wasserstein"
    discriminator: type[SmallDiscriminator] = SmallDiscriminator


BY_STEP, BY_WORD = StepDiscriminator, WordDiscriminator
HARD, SOFT = {"feedback": "hard"}, {"feedback": "soft"}
OTHERS = {"gamma": 0.0, "baseline": "leave_one_out"}
SETUPS: Sequence[Setup] = (
    Setup("reinforce", "reinforce", {}),
    Setup("leave_one_out", "leave_one_out", {}),
    Setup("rollout, 4 completions", "rollout", {"completions": 4}),
    Setup("rank, 4 completions", "rank", {"completions": 4}, objective="rank"),
    Setup("maligan", "maligan", {}, objective="reverse_kl"),
    Setup("taylor, h .5", "taylor", {"bandwidth": 0.5}),
    Setup("taylor, h 2", "taylor", {"bandwidth": 2.0}),
    Setup("dense_reinforce, gamma 1", "dense_reinforce", {"gamma": 1.0}, discriminator=BY_STEP),
    Setup("dense_reinforce, gamma .23", "dense_reinforce", {"gamma": 0.23}, discriminator=BY_STEP),
    Setup("dense_reinforce, gamma 0", "dense_reinforce", OTHERS, discriminator=BY_STEP),
    Setup("dense_reinforce, gamma 0, D of words", "dense_reinforce", OTHERS, discriminator=BY_WORD),
    Setup("all_words, gamma 0, D of words", "all_words", {"gamma": 0.0}, discriminator=BY_WORD),
    Setup("all_words, gamma .23, D of words", "all_words", {"gamma": 0.23}, discriminator=BY_WORD),
    Setup("straight_through", "pathwise", {}, "straight_through"),
    Setup("straight_through_gumbel", "pathwise", {}, "straight_through_gumbel"),
    Setup("gumbel_softmax", "pathwise", {}, "gumbel_softmax", HARD),
    Setup("gumbel_softmax, soft feedback", "pathwise", {}, "gumbel_softmax", SOFT),
    Setup("detached", "pathwise", {}, "detached"),
)


def measure(
    registry: Registry, setup: Setup, *, steps: int, draws: int, mask_after_eos: bool = False
) -> Row:
    """Draw `draws` batches of sentences of so many steps, and hold their gradients to account."""

    def make(slot: str, name: str, settings: Settings) -> tuple[Any, Any]:
        strategy = registry.strategy(slot, name)
        config = strategy.Config(**settings)
        return strategy, config

    estimator_class, estimator_config = make("estimator", setup.estimator, setup.settings)
    sampling_class, sampling_config = make("sampling", setup.sampling, setup.sampling_settings)
    objective_class, objective_config = make("objective", setup.objective, {})
    N = Case.batch
    case = Case(
        LinearGenerator(steps),
        setup.discriminator(steps),
        objective_class(objective_config),
        torch.randint(V, (N, steps), generator=stream(0, "laboratory real")),
        estimator_config,
        sampling_config,
        mask_after_eos=mask_after_eos,
    )
    drawing = Drawing(sampling_class(sampling_config), case.temperature, mask_after_eos)
    estimator = estimator_class(estimator_config)
    found = torch.stack(list(_estimates(case, drawing, estimator, draws)))
    exact, whole = TARGETS[estimator_class.target](case), sequence(case)
    return _row(setup.label, estimator_class.target, found, exact, whole)


def _estimates(case: Case, drawing: Drawing, estimator: Any, draws: int) -> Iterator[Tensor]:
    rng, own = stream(0, "laboratory noise"), stream(0, "laboratory estimator")
    for _ in range(draws):
        draw = draw_for_gradient(case.generator, drawing, case.batch, rng)
        turn = Turn(
            draw,
            TokenWords(case.real, case.mask(case.real)),
            case.generator,
            drawing,
            case.discriminator,
            case.objective,
            own,
        )
        yield gradient(case, estimator.loss(turn, estimator.judge(turn)))


def _row(label: str, target: str, found: Tensor, exact: Tensor, whole: Tensor) -> Row:
    draws = len(found)
    mean, error = found.mean(0), found.std(0) / math.sqrt(draws)
    # What rounding alone leaves must not count as a distance.
    floor = 1e-12 + 1e-3 * error.max()
    z = float(((mean - exact).abs() / (error + floor)).max())
    moving = int((error > floor).sum()) or 1
    variance = float(found.var(0).sum())
    size = float(whole.norm())
    return Row(
        label,
        target,
        float(exact.norm()) / size,
        float((exact - whole).norm()) / size,
        math.degrees(math.acos(min(1.0, float(exact @ whole) / float(exact.norm() * size)))),
        variance / size**2,
        float(mean.norm()) / math.sqrt(variance) if variance > 1e-20 else math.inf,
        z,
        float(norm.ppf(1 - (1 - SURE) / (2 * moving))),
        draws,
    )
