"""Full noise mapping: z in R^(S,E) through M linear layers E -> E, position by position."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from core.config import Search, StrategyConfig
from core.nn.layers import mapping_layers
from core.nn.noise import draw_noise
from core.types import NoiseKind, Shape


class FullMapping(nn.Module):
    """One noise vector a position, through M linear layers."""

    class Config(StrategyConfig):
        """Depth M, and a leaky ReLU between the layers (the original has none)."""

        name: Literal["full"] = "full"
        layers: Annotated[int, Field(ge=0, le=64), Search(0, 8)] = 8
        activation: Literal["none", "leaky_relu"] = "none"

    offers = frozenset({"memory"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "the original gan_textgen"

    def __init__(self, config: Config, shape: Shape, width: int) -> None:
        super().__init__()
        self.size = (shape.length, width)
        self.layers = mapping_layers(config.layers, width, config.activation)

    def draw(self, count: int, rng: torch.Generator, noise: NoiseKind) -> Tensor:
        """The latent (N, S, E)."""
        return draw_noise(noise, (count, *self.size), rng)

    def forward(self, latent: Tensor) -> Tensor:
        """Latent (N, S, E) to memory (N, S, E)."""
        mapped: Tensor = self.layers(latent)
        return mapped
