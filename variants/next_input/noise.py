"""A fresh noise vector asks for every word: q_t = z_t, beside the words so far (two streams)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from core.config import StrategyConfig
from core.nn.noise import draw_noise
from core.types import NoiseKind, Shape


class NoiseInput(nn.Module):
    """A fresh noise vector asks for the next word."""

    class Config(StrategyConfig):
        """No settings; the distribution is `model.noise`."""

        name: Literal["noise"] = "noise"

    offers = frozenset({"next_input"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "the original gan_textgen"
    streams = 2

    def __init__(self, config: Config, shape: Shape, width: int) -> None:
        super().__init__()
        self.shape = shape
        self.width = width

    def draw(self, count: int, rng: torch.Generator, noise: NoiseKind) -> Tensor:
        """One vector a step: (N, S, E)."""
        return draw_noise(noise, (count, self.shape.length, self.width), rng)

    def queries(self, drawn: Tensor | None, count: int) -> Tensor:
        """The drawn vectors themselves (N, S, E)."""
        assert drawn is not None
        return drawn
