"""The input of each step of the generator."""

from typing import Any

import torch
from torch import Tensor, nn

from core.interfaces import Strategy
from core.nn.noise import draw_noise
from core.types import NoiseKind, Shape


class NoiseEveryStep(nn.Module, Strategy):
    """One noise vector per step, used as it is."""

    def __init__(self, config: Any, shape: Shape, width: int) -> None:
        super().__init__()
        self.length, self.width = shape.length, width

    def draw(self, count: int, rng: torch.Generator, noise: NoiseKind) -> Tensor | None:
        """One vector per step (N, S, E)."""
        return draw_noise(noise, (count, self.length, self.width), rng)

    def queries(self, drawn: Tensor | None, count: int) -> Tensor:
        """The drawn vectors (N, S, E)."""
        assert drawn is not None
        return drawn
