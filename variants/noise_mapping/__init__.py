"""A latent, mapped to the memory that the noise blocks attend to."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from core.config import Search, StrategyConfig
from core.interfaces import Strategy
from core.nn.noise import draw_noise
from core.types import NoiseKind

SLOPE = 0.2  # of the leaky ReLU


class LinearMapping(nn.Module, Strategy):
    """A latent through M linear layers of its own width."""

    class Config(StrategyConfig):
        """Depth M (0: identity), and an activation between the layers.

        The original has no activation, so its mapping is one linear map; the leaky ReLU is as in
        Karras et al. 2019.
        """

        layers: Annotated[int, Field(ge=0, le=64), Search(0, 8)] = 8
        activation: Literal["none", "leaky_relu"] = "none"

    offers = frozenset({"memory"})

    def __init__(self, config: Config, size: tuple[int, ...]) -> None:
        super().__init__()
        self.size = size
        layers: list[nn.Module] = []
        for number in range(config.layers):
            if number > 0 and config.activation == "leaky_relu":
                layers.append(nn.LeakyReLU(SLOPE))
            layers.append(nn.Linear(size[-1], size[-1]))
        self.layers = nn.Sequential(*layers)

    def draw(self, count: int, rng: torch.Generator, noise: NoiseKind) -> Tensor:
        """The latent, (N, *size)."""
        return draw_noise(noise, (count, *self.size), rng)

    def forward(self, latent: Tensor) -> Tensor:
        """The mapped latent, of the same shape."""
        return self.layers(latent)
