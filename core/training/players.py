"""The players of one run, built from its configuration: modules, optimisers, strategies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from core.config import Config
from core.config.slots import SYSTEM, Resolver
from core.interfaces import (
    Discriminator,
    Estimator,
    Generator,
    Objective,
    Penalty,
    Sampling,
    SamplingSpec,
    Schedule,
    System,
    Temperature,
)
from core.kernels import choose, use_kernels
from core.nn.precision import compile_feed_forward, enable_autocast
from core.nn.regularisation import weight_decays
from core.seeding import derive
from core.types import Shape

CPU = torch.device("cpu")


@dataclass
class Adversary:
    """The discriminator and what an adversarial schedule needs with it."""

    discriminator: Discriminator
    estimator: Estimator
    objective: Objective
    penalty: Penalty
    optimiser: torch.optim.Optimizer


@dataclass
class Trainable:
    """A player's module and its optimiser."""

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
    adversary: Adversary | None
    others: Mapping[str, Trainable] = field(default_factory=dict)

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Every module with weights, by name."""
        yield "generator", as_module(self.generator)
        if self.averaged is not self.generator:
            yield "averaged", as_module(self.averaged)
        if self.adversary is not None:
            yield "discriminator", as_module(self.adversary.discriminator)
            if isinstance(self.adversary.estimator, nn.Module):  # it remembers something
                yield "estimator", self.adversary.estimator
        inside = set(as_module(self.generator).modules())  # comes with the generator already
        yield from ((n, m.module) for n, m in self.others.items() if m.module not in inside)

    def optimisers(self) -> Iterator[tuple[str, torch.optim.Optimizer]]:
        """Every optimiser, by the name of its player."""
        yield "generator", self.optimiser
        if self.adversary is not None:
            yield "discriminator", self.adversary.optimiser
        for name, mover in self.others.items():
            yield name, mover.optimiser

    @property
    def generator_module(self) -> nn.Module:
        """The trained generator as a module."""
        return as_module(self.generator)

    @property
    def averaged_module(self) -> nn.Module:
        """The averaged generator as a module."""
        return as_module(self.averaged)

    def trainable(self, player: str) -> Trainable:
        """The player of a phase by its name."""
        if player == "generator":
            return Trainable(as_module(self.generator), self.optimiser)
        if self.adversary is not None:
            return Trainable(as_module(self.adversary.discriminator), self.adversary.optimiser)
        return self.others[player]

    def sampling_at(self, config: Config, progress: float) -> SamplingSpec:
        """How sentences are drawn at this progress (0 to 1) of the run."""
        return SamplingSpec(
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
def frozen_parameters(*modules: nn.Module) -> Iterator[None]:
    """No parameter of these modules gets a gradient inside; afterwards each flag is as before."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    flags = [parameter.requires_grad for parameter in parameters]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, flag in zip(parameters, flags, strict=True):
            parameter.requires_grad_(flag)


def as_module(part: Any) -> nn.Module:
    """A part that is known to have weights, as the module it is."""
    if not isinstance(part, nn.Module):
        raise TypeError(f"{type(part).__name__} must be a torch module")
    return part


def build_generator(config: Config, resolver: Resolver, vocabulary: int) -> Generator:
    """The generator of a configuration for a vocabulary of V words, weights by the run's seed; on
    the CPU, with its kernels.
    """
    if config.system is not None:
        generator = build_system(config, resolver, vocabulary).generator
    else:
        generator = _generator(config, resolver, vocabulary)
    use_kernels(choose(CPU, config.kernels), generator)
    return generator


def _generator(config: Config, resolver: Resolver, vocabulary: int) -> Generator:
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


def sampling_spec(config: Config, resolver: Resolver, progress: float) -> SamplingSpec:
    """How the sentences of a configuration are drawn for people and metrics."""
    if config.system is not None:
        system = resolver.strategy(SYSTEM, config.system.name)
        sampling, temperature = copy(system.sampling), system.temperature(progress)
    else:
        sampling = _build(config, resolver, "sampling")
        temperature = _build(config, resolver, "temperature")(progress)
    use_kernels(choose(CPU, config.kernels), sampling)
    return SamplingSpec(sampling, temperature)


def build(config: Config, resolver: Resolver, vocabulary: int, device: torch.device) -> Players:
    """Every part of a configuration, on the device, weights by the run's seed."""
    if config.system is not None:
        players = _whole(config, build_system(config, resolver, vocabulary), device)
    else:
        players = _of_slots(config, resolver, vocabulary, device)
    kernels = choose(device, config.kernels)
    use_kernels(kernels, players.sampling)
    for _, module in players.modules():
        use_kernels(kernels, module)
        if config.precision == "bf16":
            enable_autocast(module)
        if config.train.compile:
            compile_feed_forward(module)
    return players


def _of_slots(config: Config, resolver: Resolver, vocabulary: int, device: torch.device) -> Players:
    generator = _generator(config, resolver, vocabulary)
    module = as_module(generator).to(device)
    averaged = deepcopy(generator) if config.train.ema > 0 else generator
    adversary = None
    if config.discriminator is not None:
        with seeded(config.seed, "discriminator"):
            shape = Shape(config.model.length, vocabulary, config.model.noise)
            discriminator = _build(config, resolver, "discriminator", shape)
        discriminator.to(device)
        estimator = _build(config, resolver, "estimator")
        if isinstance(estimator, nn.Module):
            estimator.to(device)
        decay = config.train.discriminator_weight_decay
        adversary = Adversary(
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
        adversary,
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
        others[name] = Trainable(other, optimiser)
    return Players(
        system.generator,
        deepcopy(system.generator) if train.ema > 0 else system.generator,
        _adam(module, train.generator_lr, config),
        copy(system.sampling),
        system.temperature,
        system,
        None,
        others,
    )


@contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Modules made inside draw their initial weights from a stream of their own. torch's modules
    know only the global generator, which is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, f"weights {name}"))
        yield


def _build(config: Config, resolver: Resolver, slot: str, *parts: Any) -> Any:
    table = getattr(config, slot)
    return resolver.strategy(slot, table.name)(table, *parts)


def _adam(
    module: nn.Module, rate: float, config: Config, decay: float = 0.0
) -> torch.optim.Optimizer:
    betas, own = (config.train.beta1, config.train.beta2), weight_decays(module)
    groups = dict[float, list[nn.Parameter]]()
    for parameter in module.parameters():
        groups.setdefault(decay + own.get(parameter, 0.0), []).append(parameter)
    alike = [{"params": each, "weight_decay": value} for value, each in groups.items()]
    return torch.optim.Adam(alike, lr=rate, betas=betas)
