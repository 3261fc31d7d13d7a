"""Broadcast noise mapping: z in R^S through M linear layers S -> S, then repeated over E."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from core.config import Search, StrategyConfig
from core.nn.layers import mapping_layers
from core.nn.noise import draw_noise
from core.types import NoiseKind, Shape


class BroadcastMapping(nn.Module):
    """One number a position, through M linear layers over the positions, repeated over E."""

    class Config(StrategyConfig):
        """Depth M, and a leaky ReLU between the layers (the original has none)."""

        name: Literal["broadcast"] = "broadcast"
        layers: Annotated[int, Field(ge=0, le=64), Search(0, 8)] = 8
        activation: Literal["none", "leaky_relu"] = "none"

    offers = frozenset({"memory"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "the original pytorch_textgen"

    def __init__(self, config: Config, shape: Shape, width: int) -> None:
        super().__init__()
        self.length = shape.length
        self.width = width
        self.layers = mapping_layers(config.layers, shape.length, config.activation)

    def draw(self, count: int, rng: torch.Generator, noise: NoiseKind) -> Tensor:
        """The latent (N, S)."""
        return draw_noise(noise, (count, self.length), rng)

    def forward(self, latent: Tensor) -> Tensor:
        """Latent (N, S) to memory (N, S, E)."""
        mapped: Tensor = self.layers(latent)
        return mapped.unsqueeze(-1).expand(-1, -1, self.width)
