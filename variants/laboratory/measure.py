"""Compare the mean of every estimator with two exact gradients.

One is the target that it claims to estimate, the other the gradient of the sequence objective.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from scipy import special
from torch import Tensor

from core.interfaces import SamplingSpec, StepPlan
from core.nn.discriminator_input import HardTokens
from core.seeding import generator as stream
from core.training.generator_batch import GeneratorBatch
from core.training.rollout import sample_with_grad
from variants import Registry
from variants.laboratory.exact import TARGETS, Case, gradient, sequence
from variants.laboratory.toy import (
    ToyDiscriminator,
    ToyGenerator,
    ToyProjection,
    ToyStepDiscriminator,
    V,
)

Settings = Mapping[str, Any]
CONFIDENCE = 0.999  # of all coordinates together (Bonferroni)


@dataclass(frozen=True)
class Setup:
    """The strategies of one measurement, and their settings."""

    label: str
    estimator: str
    settings: Settings = field(default_factory=dict)
    sampling: str = "categorical"
    sampling_settings: Settings = field(default_factory=dict)
    objective: str = "wasserstein"
    discriminator: type[ToyDiscriminator] = ToyDiscriminator


@dataclass(frozen=True)
class Row:
    """What was measured of one estimator. Vectors have one entry per weight of G.

    g is the exact gradient of the sequence objective, "target" the exact gradient that the
    estimator claims to estimate.
    """

    label: str
    target: str  # name of the target
    scale: float  # ||target|| / ||g||
    bias: float  # ||target - g|| / ||g||
    angle: float  # between target and g, in degrees
    variance: float  # trace of the covariance over batches, in units of ||g||^2
    signal_to_noise: float  # ||mean|| / sqrt(variance) of one batch
    z: float  # maximum over coordinates of |mean - target| in standard errors
    bound: float  # on z, at CONFIDENCE
    draws: int

    @property
    def agrees(self) -> bool:
        """Whether the mean lies within its confidence interval of the exact target."""
        return self.z < self.bound


BY_STEP, PROJECTION = ToyStepDiscriminator, ToyProjection
HARD, SOFT = {"feedback": "hard"}, {"feedback": "soft"}
NOT_STANDARDISED = {"group": 4, "standardise": False, "per_token": False, "kl": 0.0}
NO_RETURN = {"gamma": 0.0, "baseline": "leave_one_out"}
DENSE, DISCOUNTED = "dense_reinforce", {"gamma": 0.23}
SETUPS: Sequence[Setup] = (
    Setup("reinforce", "reinforce"),
    Setup("leave_one_out", "leave_one_out"),
    Setup("rollout, 4 completions", "rollout", {"completions": 4}),
    Setup("rank, 4 completions", "rank", {"completions": 4}, objective="rank"),
    Setup("maligan", "maligan", {}, objective="reverse_kl"),
    Setup("group_relative, not standardised", "group_relative", NOT_STANDARDISED),
    Setup("group_relative", "group_relative", {"group": 4, "kl": 0.1}),
    Setup("cold", "cold", {"bound": 1e6}),
    Setup("cold, nucleus", "cold", {"epsilon": 0.5, "nucleus": 0.6, "bound": 1e6}),
    Setup("taylor, h .5", "taylor", {"bandwidth": 0.5}),
    Setup("taylor, h 2", "taylor", {"bandwidth": 2.0}),
    Setup("dense_reinforce, gamma 1", DENSE, {"gamma": 1.0}, discriminator=BY_STEP),
    Setup("dense_reinforce, gamma .23", DENSE, DISCOUNTED, discriminator=BY_STEP),
    Setup("dense_reinforce, gamma 0", DENSE, NO_RETURN, discriminator=BY_STEP),
    Setup("dense_reinforce, gamma 0, projection", DENSE, NO_RETURN, discriminator=PROJECTION),
    Setup("all_words, gamma 0, projection", "all_words", {"gamma": 0.0}, discriminator=PROJECTION),
    Setup("all_words, gamma .23, projection", "all_words", DISCOUNTED, discriminator=PROJECTION),
    Setup("straight_through", "pathwise", {}, "straight_through"),
    Setup("straight_through_gumbel", "pathwise", {}, "straight_through_gumbel"),
    Setup("gumbel_softmax", "pathwise", {}, "gumbel_softmax", HARD),
    Setup("gumbel_softmax, soft feedback", "pathwise", {}, "gumbel_softmax", SOFT),
    Setup("detached", "pathwise", {}, "detached"),
)


def measure(
    registry: Registry, setup: Setup, *, steps: int, draws: int, mask_after_eos: bool = False
) -> Row:
    """Estimate the gradient from `draws` batches of sentences of `steps` tokens."""
    estimator_class = registry.strategy("estimator", setup.estimator)
    sampling_class = registry.strategy("sampling", setup.sampling)
    objective_class = registry.strategy("objective", setup.objective)
    estimator_config = estimator_class.Config(**setup.settings)
    sampling_config = sampling_class.Config(name=setup.sampling, **setup.sampling_settings)
    case = Case(
        ToyGenerator(steps),
        setup.discriminator(steps),
        objective_class(objective_class.Config()),
        torch.randint(V, (Case.batch, steps), generator=stream(0, "laboratory real")),
        estimator_config,
        sampling_config,
        mask_after_eos=mask_after_eos,
    )
    spec = SamplingSpec(sampling_class(sampling_config), case.temperature, mask_after_eos)
    estimator = estimator_class(estimator_config)
    spec = getattr(estimator, "plan", StepPlan()).training_spec(spec)
    estimates = torch.stack(list(_estimates(case, spec, estimator, draws)))
    target = estimator_class.target
    return _row(setup.label, target, estimates, TARGETS[target](case), sequence(case))


def _estimates(case: Case, spec: SamplingSpec, estimator: Any, draws: int) -> Iterator[Tensor]:
    rng, own = stream(0, "laboratory noise"), stream(0, "laboratory estimator")
    for _ in range(draws):
        draw = sample_with_grad(case.generator, spec, case.batch, rng)
        context = GeneratorBatch(
            draw,
            HardTokens(case.real, case.mask(case.real)),
            case.generator,
            spec,
            case.discriminator,
            case.objective,
            own,
            reference=case.reference,
        )
        yield gradient(case, estimator.loss(context, estimator.prepare(context)))


def _row(label: str, target: str, estimates: Tensor, exact: Tensor, reference: Tensor) -> Row:
    """`estimates` (draws, W), `exact` and `reference` (W,): its target and the sequence one."""
    draws, size = len(estimates), float(reference.norm())
    mean, error = estimates.mean(0), estimates.std(0) / math.sqrt(draws)
    floor = 1e-12 + 1e-3 * error.max()  # rounding errors do not count as a distance
    coordinates = int((error > floor).sum()) or 1
    variance = float(estimates.var(0).sum())
    cosine = float(exact @ reference) / float(exact.norm() * size)
    return Row(
        label,
        target,
        scale=float(exact.norm()) / size,
        bias=float((exact - reference).norm()) / size,
        angle=math.degrees(math.acos(min(1.0, cosine))),
        variance=variance / size**2,
        signal_to_noise=float(mean.norm()) / math.sqrt(variance) if variance > 1e-20 else math.inf,
        z=float(((mean - exact).abs() / (error + floor)).max()),
        bound=float(special.ndtri(1 - (1 - CONFIDENCE) / (2 * coordinates))),
        draws=draws,
    )
