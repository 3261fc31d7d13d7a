"""A rollout without gradient as one CUDA graph: S steps of hundreds of small kernels are launched
by one call, and the GPU never waits for Python between two words.

A graph replays what was captured, at the addresses that it was captured with. So:

- what a rollout reads of chance is drawn outside and copied to where the graph reads it, Gumbel
  noise (S, N, V) too; a random number inside would want its generator registered;
- the first walks, which set libraries up and allocate, are made on a stream beside;
- nothing inside looks at a value, so no sentence ends early: what is behind the end is hidden;
- what comes out is copied, since the next replay writes over it;
- weights are read where they are: optimisers and checkpoints write them in place. Where a weight
  has moved all the same, the rollout is captured anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from core.interfaces import Generator, SamplingSpec
from core.nn.gumbel import Laid, fill
from core.training.players import as_module
from core.training.rollout import unroll
from core.types import Noise, Seeds

log = logging.getLogger(__name__)
Drawn = tuple[Tensor, Tensor]  # tokens (N, S), hidden (N, S, E)
Walk = Callable[[], Drawn]
KEPT = 4  # graphs: of the sizes of a D phase and of a G step, and of the length before
LARGEST = 2**29  # numbers of Gumbel noise: 2 GB
WARM_UP = 3  # walks before one is captured


class Graphs:
    """Rollouts of one run, as graphs where that is possible; else step by step, said once why."""

    def __init__(self) -> None:
        self._captured: dict[tuple[Any, ...], _Captured] = {}
        self._said: set[str] = set()

    def __call__(
        self, generator: Generator, drawing: SamplingSpec, noise: Noise, seeds: Seeds
    ) -> Drawn:
        """See `core.training.rollout.unroll`."""
        why = obstacle(generator, drawing, noise, seeds)
        if why is not None:
            if why not in self._said:
                log.warning("train.rollout = 'graph': %s; words are drawn step by step", why)
                self._said.add(why)
            return unroll(generator, drawing, noise, seeds, differentiable=False)
        key = _key(generator, drawing, noise, seeds)
        if key not in self._captured:
            while len(self._captured) >= KEPT:
                self._captured.pop(next(iter(self._captured)))
            self._captured[key] = _Captured(generator, drawing, noise, seeds)
        return self._captured[key](noise, seeds)


def obstacle(generator: Generator, drawing: SamplingSpec, noise: Noise, seeds: Seeds) -> str | None:
    """Why a rollout cannot be a graph, in words."""
    weight, steps = generator.head.weight, drawing.length or generator.length
    if "capture" not in getattr(generator, "offers", ()):
        return f"{type(generator).__name__} draws or decides inside its rollout"
    if noise.redrawn:
        return "generator.attention = 'full' draws noise at every step"
    if drawing.sampling.soft_feedback:
        return "a mixture that is fed back draws its noise inside the rollout"
    if seeds and noise.count * steps * len(weight) > LARGEST:
        return f"Gumbel noise of {noise.count} sentences has more than {LARGEST:,} numbers"
    return None if weight.device.type == "cuda" else "there is no GPU"


def _key(
    generator: Generator, drawing: SamplingSpec, noise: Noise, seeds: Seeds
) -> tuple[Any, ...]:
    """What a graph has built in."""
    module = as_module(generator)
    places = [weight.data_ptr() for weight in [*module.parameters(), *module.buffers()]]
    shapes = [None if part is None else part.shape for part in _tensors(noise)]
    return (drawing.sampling, drawing.length, len(seeds), noise.count, *shapes, *places)


def _tensors(noise: Noise) -> tuple[Tensor | None, ...]:
    return noise.latent, noise.inputs, noise.injected


class _Captured:
    """One rollout, captured."""

    def __init__(
        self, generator: Generator, drawing: SamplingSpec, noise: Noise, seeds: Seeds
    ) -> None:
        latent, inputs, injected = (None if x is None else x.clone() for x in _tensors(noise))
        self.noise = replace(noise, latent=latent, inputs=inputs, injected=injected)
        self.chance = seeds
        if seeds:
            weight = generator.head.weight
            steps = drawing.length or generator.length
            room = weight.new_zeros(steps, noise.count, len(weight), requires_grad=False)
            self.chance = Laid(seeds, room)
        to_the_end = replace(drawing, mask_after_eos=False)

        def walk() -> Drawn:
            return unroll(generator, to_the_end, self.noise, self.chance, differentiable=False)

        with torch.no_grad():
            self.drawn, self.replay = capture(walk)

    def __call__(self, noise: Noise, seeds: Seeds) -> Drawn:
        for own, x in zip(_tensors(self.noise), _tensors(noise), strict=True):
            if own is not None and x is not None:
                own.copy_(x)
        if isinstance(self.chance, Laid):
            for step, room in enumerate(self.chance.noise):
                fill(room, seeds, step)
        self.replay()
        tokens, hidden = self.drawn
        return tokens.clone(), hidden.clone()


def capture(walk: Walk) -> tuple[Drawn, Callable[[], None]]:
    """What a walk will have written to, and what makes it walk again."""
    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(WARM_UP):
            walk()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    # Other threads, which deliver what is logged, may do as they like meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        drawn = walk()
    return drawn, graph.replay
