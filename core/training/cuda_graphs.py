"""A rollout without gradient as one CUDA graph: one call launches the hundreds of small kernels of
S steps, and the GPU never waits for Python between two tokens.

A graph replays what was captured, at the addresses of the capture. Therefore:

- random numbers are drawn outside and copied to where the graph reads them, Gumbel noise (S, N, V)
  included; drawing inside would need a generator that is registered with the graph;
- the first rollouts, which initialise libraries and allocate, run on a side stream;
- nothing inside reads a value, so no sentence ends early; positions after the end are masked;
- results are copied, since the next replay overwrites them;
- weights are read in place, where optimisers and checkpoints write them. If a weight's address
  changes all the same, the rollout is captured again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from core.interfaces import Generator, SamplingSpec
from core.nn.gumbel import DrawnSeeds
from core.nn.layers import kernels_of
from core.training.players import as_module
from core.training.rollout import unroll
from core.types import Noise, Seeds

log = logging.getLogger(__name__)
Drawn = tuple[Tensor, Tensor]  # tokens (N, S), hidden (N, S, E)
Rollout = Callable[[], Drawn]
KEPT = 4  # graphs: for a D phase and a G step, at this length and the one before
LARGEST = 2**29  # numbers of Gumbel noise: 2 GB
WARM_UP = 3  # rollouts before the capture


class Graphs:
    """Rollouts of one run, as graphs if possible; else step by step, with one warning why."""

    def __init__(self) -> None:
        self._captured: dict[tuple[Any, ...], _Captured] = {}
        self._said: set[str] = set()

    def __call__(
        self, generator: Generator, spec: SamplingSpec, noise: Noise, seeds: Seeds
    ) -> Drawn:
        """See `core.training.rollout.unroll`."""
        why = obstacle(generator, spec, noise, seeds)
        if why is not None:
            if why not in self._said:
                log.warning("train.rollout = 'graph': %s; tokens are drawn step by step", why)
                self._said.add(why)
            return unroll(generator, spec, noise, seeds, differentiable=False)
        key = _key(generator, spec, noise, seeds)
        if key not in self._captured:
            while len(self._captured) >= KEPT:
                self._captured.pop(next(iter(self._captured)))
            self._captured[key] = _Captured(generator, spec, noise, seeds)
        return self._captured[key](noise, seeds)


def obstacle(generator: Generator, spec: SamplingSpec, noise: Noise, seeds: Seeds) -> str | None:
    """Why a rollout cannot be a graph, in words."""
    weight, steps = generator.head.weight, spec.length or generator.length
    if "capture" not in getattr(generator, "offers", ()):
        return f"{type(generator).__name__} draws random numbers or reads values in its rollout"
    if noise.redrawn:
        return "generator.attention = 'full' draws noise at every step"
    if spec.sampling.soft_feedback:
        return "a mixture that is fed back draws its noise inside the rollout"
    if seeds and noise.count * steps * len(weight) > LARGEST:
        return f"Gumbel noise of {noise.count} sentences has more than {LARGEST:,} numbers"
    return None if weight.device.type == "cuda" else "there is no GPU"


def _key(generator: Generator, spec: SamplingSpec, noise: Noise, seeds: Seeds) -> tuple[Any, ...]:
    """All that a graph depends on."""
    module = as_module(generator)
    places = [weight.data_ptr() for weight in [*module.parameters(), *module.buffers()]]
    shapes = [None if part is None else part.shape for part in _tensors(noise)]
    return (spec.sampling, spec.length, len(seeds), noise.count, *shapes, *places)


def _tensors(noise: Noise) -> tuple[Tensor | None, ...]:
    return noise.latent, noise.inputs, noise.injected


class _Captured:
    """One rollout, captured."""

    def __init__(
        self, generator: Generator, spec: SamplingSpec, noise: Noise, seeds: Seeds
    ) -> None:
        latent, inputs, injected = (None if x is None else x.clone() for x in _tensors(noise))
        self.noise = replace(noise, latent=latent, inputs=inputs, injected=injected)
        self.seeds, self.kernels = seeds, kernels_of(generator.head)
        if seeds:
            weight = generator.head.weight
            steps = spec.length or generator.length
            room = weight.new_zeros(steps, noise.count, len(weight), requires_grad=False)
            self.seeds = DrawnSeeds(seeds, room)
        to_the_end = replace(spec, mask_after_eos=False)

        def rollout() -> Drawn:
            return unroll(generator, to_the_end, self.noise, self.seeds, differentiable=False)

        with torch.no_grad():
            self.drawn, self.replay = capture(rollout)

    def __call__(self, noise: Noise, seeds: Seeds) -> Drawn:
        for own, x in zip(_tensors(self.noise), _tensors(noise), strict=True):
            if own is not None and x is not None:
                own.copy_(x)
        if isinstance(self.seeds, DrawnSeeds):
            for step, room in enumerate(self.seeds.noise):
                self.kernels.gumbel(room, seeds, step)
        self.replay()
        tokens, hidden = self.drawn
        return tokens.clone(), hidden.clone()


def capture(rollout: Rollout) -> tuple[Drawn, Callable[[], None]]:
    """The tensors that a rollout writes, and a function that replays it."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            rollout()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # Other threads, which deliver logged values, go on meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        drawn = rollout()
    return drawn, graph.replay
