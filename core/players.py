"""The strategies of one configuration, built: who plays, with which weights and optimisers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from core.config import SYSTEM, Config, Resolver
from core.nn.decayed import decays
from core.nn.precision import fuse, lower
from core.protocols import (
    Discriminator,
    Estimator,
    Generator,
    Objective,
    Penalty,
    Sampling,
    Schedule,
    Shape,
    System,
    Temperature,
)
from core.rollout import Drawing
from core.seeding import derive


@dataclass
class Opponent:
    """What an adversarial schedule needs besides the generator."""

    discriminator: Discriminator
    estimator: Estimator
    objective: Objective
    penalty: Penalty
    optimiser: torch.optim.Optimizer


@dataclass
class Mover:
    """Who moves in a phase."""

    module: nn.Module
    optimiser: torch.optim.Optimizer


@dataclass
class Players:
    """One run's parts."""

    generator: Generator
    averaged: Generator  # exponential moving average of G's weights, or G itself
    optimiser: torch.optim.Optimizer
    sampling: Sampling
    temperature: Temperature
    schedule: Schedule
    opponent: Opponent | None
    others: Mapping[str, Mover] = field(default_factory=dict)

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Every module with weights, by name."""
        yield "generator", as_module(self.generator)
        if self.averaged is not self.generator:
            yield "averaged", as_module(self.averaged)
        if self.opponent is not None:
            yield "discriminator", as_module(self.opponent.discriminator)
            if isinstance(self.opponent.estimator, nn.Module):  # it remembers something
                yield "estimator", self.opponent.estimator
        inside = set(as_module(self.generator).modules())  # comes with the generator already
        yield from ((n, m.module) for n, m in self.others.items() if m.module not in inside)

    def optimisers(self) -> Iterator[tuple[str, torch.optim.Optimizer]]:
        """Every optimiser, by the name of its player."""
        yield "generator", self.optimiser
        if self.opponent is not None:
            yield "discriminator", self.opponent.optimiser
        for name, mover in self.others.items():
            yield name, mover.optimiser

    def mover(self, player: str) -> Mover:
        """The player of a phase by its name."""
        if player == "generator":
            return Mover(as_module(self.generator), self.optimiser)
        if self.opponent is not None:
            return Mover(as_module(self.opponent.discriminator), self.opponent.optimiser)
        return self.others[player]

    def drawing(self, config: Config, progress: float) -> Drawing:
        """How sentences are drawn at this progress (0 to 1) of the run."""
        return Drawing(
            self.sampling,
            self.temperature(progress),
            config.model.mask_after_eos,
            _length(config, progress),
        )


def _length(config: Config, progress: float) -> int:
    """Steps played at this progress: from `curriculum_start` up to S, by equal steps."""
    S, train = config.model.length, config.train
    if train.curriculum_start is None:
        return S
    share = min(1.0, progress / train.curriculum_end)
    return min(S, train.curriculum_start + round(share * (S - train.curriculum_start)))


@contextmanager
def still(*modules: nn.Module) -> Iterator[None]:
    """Inside, no weight of these gets a gradient, and none is computed."""
    for module in modules:
        module.requires_grad_(False)
    try:
        yield
    finally:
        for module in modules:
            module.requires_grad_(True)


def as_module(part: Any) -> nn.Module:
    """A part that is known to have weights, as the module it is."""
    if not isinstance(part, nn.Module):
        raise TypeError(f"{type(part).__name__} must be a torch module")
    return part


def build_generator(config: Config, resolver: Resolver, vocabulary: int) -> Generator:
    """The generator of a configuration for a vocabulary of V words, weights by the run's seed."""
    if config.system is not None:
        return build_system(config, resolver, vocabulary).generator
    shape = Shape(config.model.length, vocabulary, config.model.noise)
    width = getattr(config.generator, "width", config.model.length)
    with seeded(config.seed, "generator"):
        next_input = _build(config, resolver, "next_input", shape, width)
        mapping = _build(config, resolver, "noise_mapping", shape, width)
        generator: Generator = _build(config, resolver, "generator", shape, next_input, mapping)
    return generator


def build_system(config: Config, resolver: Resolver, vocabulary: int) -> System:
    """The whole system of a configuration, weights by the run's seed."""
    shape = Shape(config.model.length, vocabulary, config.model.noise)
    with seeded(config.seed, SYSTEM):
        system: System = _build(config, resolver, SYSTEM, shape)
    return system


def drawing_of(config: Config, resolver: Resolver, progress: float) -> Drawing:
    """How the sentences of a configuration are drawn for people and metrics."""
    if config.system is not None:
        system = resolver.strategy(SYSTEM, config.system.name)
        return Drawing(system.sampling, system.temperature(progress))
    sampling = _build(config, resolver, "sampling")
    return Drawing(sampling, _build(config, resolver, "temperature")(progress))


def build(config: Config, resolver: Resolver, vocabulary: int, device: torch.device) -> Players:
    """Every part of a configuration, on the device, weights by the run's seed."""
    if config.system is not None:
        players = _whole(config, build_system(config, resolver, vocabulary), device)
    else:
        players = _of_slots(config, resolver, vocabulary, device)
    for _, module in players.modules():
        if config.precision == "bf16":
            lower(module)
        if config.train.compile:
            fuse(module)
    return players


def _of_slots(config: Config, resolver: Resolver, vocabulary: int, device: torch.device) -> Players:
    generator = build_generator(config, resolver, vocabulary)
    module = as_module(generator).to(device)
    averaged = deepcopy(generator) if config.train.ema > 0 else generator
    opponent = None
    if config.discriminator is not None:
        with seeded(config.seed, "discriminator"):
            shape = Shape(config.model.length, vocabulary, config.model.noise)
            discriminator = _build(config, resolver, "discriminator", shape)
        discriminator.to(device)
        estimator = _build(config, resolver, "estimator")
        if isinstance(estimator, nn.Module):
            estimator.to(device)
        decay = config.train.discriminator_weight_decay
        opponent = Opponent(
            discriminator,
            estimator,
            _build(config, resolver, "objective"),
            _build(config, resolver, "penalty"),
            _adam(discriminator, config.train.discriminator_lr, config, decay),
        )
    return Players(
        generator,
        averaged,
        _adam(module, config.train.generator_lr, config),
        _build(config, resolver, "sampling"),
        _build(config, resolver, "temperature"),
        _build(config, resolver, "schedule"),
        opponent,
    )


def _whole(config: Config, system: System, device: torch.device) -> Players:
    """A system is its own schedule."""
    train = config.train
    module = as_module(system.generator).to(device)
    others = {}
    for name, other in system.others.items():
        optimiser = _adam(
            other.to(device), train.discriminator_lr, config, train.discriminator_weight_decay
        )
        others[name] = Mover(other, optimiser)
    return Players(
        system.generator,
        deepcopy(system.generator) if train.ema > 0 else system.generator,
        _adam(module, train.generator_lr, config),
        system.sampling,
        system.temperature,
        system,
        None,
        others,
    )


class seeded:  # noqa: N801 - reads as a verb: with seeded(...)
    """Weights made inside come from their own stream; torch's global generator is left as it was.

    Modules of torch draw their initial weights from the global generator, the only one they know.
    """

    def __init__(self, seed: int, name: str) -> None:
        self._seed = derive(seed, f"weights {name}")

    def __enter__(self) -> None:
        self._before = torch.get_rng_state()
        torch.manual_seed(self._seed)

    def __exit__(self, *_: object) -> None:
        torch.set_rng_state(self._before)


def _build(config: Config, resolver: Resolver, slot: str, *parts: Any) -> Any:
    table = getattr(config, slot)
    return resolver.strategy(slot, table.name)(table, *parts)


def _adam(
    module: nn.Module, rate: float, config: Config, decay: float = 0.0
) -> torch.optim.Optimizer:
    betas, own = (config.train.beta1, config.train.beta2), decays(module)
    groups = dict[float, list[nn.Parameter]]()
    for parameter in module.parameters():
        groups.setdefault(decay + own.get(parameter, 0.0), []).append(parameter)
    alike = [{"params": each, "weight_decay": value} for value, each in groups.items()]
    return torch.optim.Adam(alike, lr=rate, betas=betas)
