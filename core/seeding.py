"""Randomness by name: one seed, many independent streams.

Every use of chance draws from its own generator, seeded by SHA-256 of (seed, name). Two variants
that share a seed therefore see the same batches and the same evaluation latents even when one of
them draws more noise than the other (common random numbers), and a stream's state is all that a
checkpoint must keep.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

OFFSETS = 4  # that the counter of a GPU's generator moves by at least


def derive(seed: int, name: str) -> int:
    """A 63-bit seed for the stream `name` of the run seed."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, name: str, device: torch.device | None = None) -> torch.Generator:
    """A fresh torch generator for the stream `name`."""
    rng = torch.Generator(device=device or torch.device("cpu"))
    return rng.manual_seed(derive(seed, name))


def draw_seed(rng: torch.Generator) -> int:
    """One 63-bit seed out of a generator; for streams that are drawn again step by step."""
    if rng.device.type == "cuda":  # a number from a GPU would be waited for
        offset = rng.get_offset()
        rng.set_offset(offset + OFFSETS)
        return derive(rng.initial_seed(), f"offset {offset}")
    return int(torch.randint(2**62, (1,), generator=rng, device=rng.device).item())


def draw_seeds(count: int, rng: torch.Generator) -> tuple[int, ...]:
    """`count` 63-bit seeds out of a generator."""
    return tuple(draw_seed(rng) for _ in range(count))


class Streams:
    """The named generators of one run, with a state that can be saved and restored."""

    def __init__(self, seed: int, device: torch.device, rank: int = 0, update: int = 0) -> None:
        """Streams of a run's seed. Other ranks of data parallel training than 0 have streams of
        their own, new ones wherever they resume (at `update`).
        """
        self.seed = derive(seed, f"rank {rank} update {update}") if rank else seed
        self.device = device
        self._generators: dict[str, torch.Generator] = {}

    def __getitem__(self, name: str) -> torch.Generator:
        if name not in self._generators:
            self._generators[name] = generator(self.seed, name, self.device)
        return self._generators[name]

    def state(self) -> dict[str, Tensor]:
        """State of every stream used so far, uint8 tensors on the CPU."""
        return {name: rng.get_state() for name, rng in self._generators.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue every stream exactly where `state` was taken."""
        for name, value in state.items():
            self[name].set_state(value)
