"""The players of one run, built from its configuration: modules, optimisers, strategies."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from core.config import Config
from core.config.slots import SYSTEM, Resolver
from core.errors import InputError
from core.interfaces import (
    Discriminator,
    Estimator,
    Generator,
    Objective,
    Penalty,
    Sampling,
    SamplingSpec,
    Schedule,
    StepPlan,
    System,
    Temperature,
)
from core.kernels import choose, use_kernels
from core.nn.layers import Block
from core.nn.precision import set_blocks
from core.nn.regularisation import weight_decays
from core.seeding import derive
from core.types import Shape

CPU = torch.device("cpu")
LAYERS = (nn.LSTM, nn.GRU, Block)  # that a discriminator may take from a generator
STARTS = ("next_input.start", "start")  # the start token of a generator and of a discriminator


class Adam(torch.optim.Adam):
    """Adam without the preparations for torch's compiler, whose import takes two seconds."""

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Adam.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Adam.load_state_dict)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


@dataclass(frozen=True)
class Trainable:
    """A player's module, its optimiser, and its learning rate before decay."""

    module: nn.Module
    optimiser: torch.optim.Optimizer
    lr: float


@dataclass(frozen=True)
class Adversary:
    """The discriminator and what an adversarial schedule needs with it."""

    discriminator: Discriminator
    estimator: Estimator
    objective: Objective
    penalty: Penalty
    reference: Generator | None = None  # G as it was when adversarial training began

    @property
    def plan(self) -> StepPlan:
        """What the estimator asks of the steps of both players."""
        return getattr(self.estimator, "plan", StepPlan())


@dataclass(frozen=True)
class Players:
    """One run's parts."""

    generator: Generator
    averaged: Generator  # exponential moving average of G's weights, or G itself
    sampling: Sampling
    temperature: Temperature
    schedule: Schedule
    adversary: Adversary | None
    # By the names that phases use: "generator", "discriminator", or those of a whole system.
    trainable: Mapping[str, Trainable]
    # Weights of G and those of D that take their values when pretraining has ended.
    inherited: Sequence[tuple[Tensor, Tensor]] = ()

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Every module with weights, by name."""
        inside = set(as_module(self.generator).modules())
        for name, player in self.trainable.items():
            if name == "generator" or player.module not in inside:  # else it is saved with G
                yield name, player.module
        if self.averaged is not self.generator:
            yield "averaged", as_module(self.averaged)
        if self.adversary is not None and isinstance(self.adversary.estimator, nn.Module):
            yield "estimator", self.adversary.estimator  # it remembers something
        if self.adversary is not None and self.adversary.reference is not None:
            yield "reference", as_module(self.adversary.reference)

    def end_pretraining(self, player: str) -> None:
        """Before the first adversarial steps of a player: take G as it is now for D, or for the
        reference, if the configuration says so.
        """
        if player == "discriminator":
            for theirs, ours in self.inherited:
                ours.data.copy_(theirs)
        elif self.adversary is not None and self.adversary.reference is not None:
            weights = as_module(self.generator).state_dict()
            as_module(self.adversary.reference).load_state_dict(weights)

    def sampling_at(
        self, config: Config, progress: float, temperature_progress: float | None = None
    ) -> SamplingSpec:
        """How sentences are drawn at this progress (0 to 1) of the run. That of the temperature may
        be counted in another way: `TrainingState.temperature_progress`.
        """
        cooled = progress if temperature_progress is None else temperature_progress
        return SamplingSpec(
            self.sampling,
            self.temperature(cooled),
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


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """No dropout inside, and no power iteration of spectral norms; afterwards each part is in the
    mode it was in. Recurrent layers keep theirs: cuDNN's have no backward pass in evaluation mode,
    and ours have no dropout of their own.
    """
    modes = [(part, part.training) for part in module.modules()]
    for part, training in modes:
        part.training = training and isinstance(part, nn.RNNBase)
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def as_module(part: Any) -> nn.Module:
    """A part that is known to have weights, as the module it is."""
    if not isinstance(part, nn.Module):
        raise TypeError(f"{type(part).__name__} must be a torch module")
    return part


def build(config: Config, resolver: Resolver, vocabulary: int, device: torch.device) -> Players:
    """Every part of a configuration, on the device, weights by the run's seed."""
    adversary: Adversary | None = None
    others: Mapping[str, nn.Module] = {}
    schedule: Schedule
    if config.system is not None:  # which is its own schedule
        schedule = system = build_system(config, resolver, vocabulary)
        generator, others = system.generator, system.others
    else:
        schedule = _build(config, resolver, "schedule")
        generator = _generator(config, resolver, vocabulary)
        if config.discriminator is not None:
            adversary = _adversary(config, resolver, vocabulary)
            if adversary.plan.reference:
                adversary = replace(adversary, reference=deepcopy(generator))
                as_module(adversary.reference).eval().requires_grad_(False)
            others = {"discriminator": as_module(adversary.discriminator)}
    modules = {"generator": as_module(generator), **others}
    trainable = {name: _trainable(name, part.to(device), config) for name, part in modules.items()}
    averaged = deepcopy(generator) if config.train.ema > 0 else generator
    sampling, temperature = _sampling(config, resolver)
    inherited: Sequence[tuple[Tensor, Tensor]] = ()
    if config.train.discriminator_from_generator and adversary is not None:
        inherited = equal_parts(generator, adversary.discriminator)
    parts = (sampling, temperature, schedule, adversary, trainable, inherited)
    players = Players(generator, averaged, *parts)
    kernels = choose(device, config.kernels)
    use_kernels(kernels, sampling)
    if adversary is not None and adversary.plan.sampling is not None:
        use_kernels(kernels, adversary.plan.sampling)
    for _, module in players.modules():
        use_kernels(kernels, module.to(device))
        set_blocks(module, autocast=config.precision == "bf16", compiled=config.train.compile)
    return players


def equal_parts(G: Generator, D: Discriminator) -> list[tuple[Tensor, Tensor]]:
    """Weights of G and D that mean the same: embeddings, start token, recurrent layers or blocks.
    InputError unless all of D's embeddings and layers have an equal in G.
    """
    named: list[dict[str, Tensor]] = [{"embedding": G.embedding.weight}, {"embedding": D.embedding}]
    modules = as_module(G), as_module(D)
    for found, module in zip(named, modules, strict=True):
        layers = [part for part in module.modules() if isinstance(part, LAYERS)]
        for number, layer in enumerate(layers):
            found |= {f"{number}.{key}": weight for key, weight in layer.named_parameters()}
    shapes = [{key: weight.shape for key, weight in found.items()} for found in named]
    if shapes[0] != shapes[1] or len(shapes[0]) == 1:  # an embedding alone is no language model
        raise InputError(
            "train.discriminator_from_generator needs a discriminator with the embedding and the "
            "layers of the generator, of the same sizes; these two have no equal parts"
        )
    pairs = [(named[0][key], named[1][key]) for key in named[0]]
    starts = (dict(module.named_parameters()) for module in modules)
    theirs, ours = (found.get(key) for found, key in zip(starts, STARTS, strict=True))
    return pairs if theirs is None or ours is None else [*pairs, (theirs, ours)]


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


def build_system(config: Config, resolver: Resolver, vocabulary: int) -> System:
    """The whole system of a configuration, weights by the run's seed."""
    with seeded(config.seed, SYSTEM):
        return _build(config, resolver, SYSTEM, _shape(config, vocabulary))


def sampling_spec(config: Config, resolver: Resolver, progress: float) -> SamplingSpec:
    """How the sentences of a configuration are drawn for people and metrics."""
    sampling, temperature = _sampling(config, resolver)
    use_kernels(choose(CPU, config.kernels), sampling)
    return SamplingSpec(sampling, temperature(progress))


def _generator(config: Config, resolver: Resolver, vocabulary: int) -> Generator:
    shape = _shape(config, vocabulary)
    width = getattr(config.generator, "width", config.model.length)
    with seeded(config.seed, "generator"):
        next_input = _build(config, resolver, "next_input", shape, width)
        mapping = _build(config, resolver, "noise_mapping", shape, width)
        return _build(config, resolver, "generator", shape, next_input, mapping)


def _adversary(config: Config, resolver: Resolver, vocabulary: int) -> Adversary:
    with seeded(config.seed, "discriminator"):
        discriminator = _build(config, resolver, "discriminator", _shape(config, vocabulary))
    others = (_build(config, resolver, slot) for slot in ("estimator", "objective", "penalty"))
    return Adversary(discriminator, *others)


def _sampling(config: Config, resolver: Resolver) -> tuple[Sampling, Temperature]:
    """The sampling and its temperature; a system's class has both."""
    if config.system is not None:
        system = resolver.strategy(SYSTEM, config.system.name)
        return copy(system.sampling), system.temperature
    return _build(config, resolver, "sampling"), _build(config, resolver, "temperature")


def _shape(config: Config, vocabulary: int) -> Shape:
    return Shape(config.model.length, vocabulary, config.model.noise)


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


def _trainable(player: str, module: nn.Module, config: Config) -> Trainable:
    """A player with Adam. All but the generator have the settings of a discriminator."""
    train, own = config.train, weight_decays(module)
    lr, decay = train.discriminator_lr, train.discriminator_weight_decay
    if player == "generator":
        lr, decay = train.generator_lr, 0.0
    groups = dict[float, list[nn.Parameter]]()
    for parameter in module.parameters():
        groups.setdefault(decay + own.get(parameter, 0.0), []).append(parameter)
    alike = [{"params": each, "weight_decay": value} for value, each in groups.items()]
    optimiser = Adam(alike, lr=lr, betas=(train.beta1, train.beta2))
    return Trainable(module, optimiser, lr)
