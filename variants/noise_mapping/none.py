"""No noise mapping: the noise blocks have no memory and leave cross-attention out."""

import torch
from torch import Tensor, nn

from core.config import StrategyConfig
from core.interfaces import Strategy
from core.types import NoiseKind, Shape


class NoMapping(nn.Module, Strategy):
    """No latent and no memory."""

    def __init__(self, config: StrategyConfig, shape: Shape, width: int) -> None:
        super().__init__()

    def draw(self, count: int, rng: torch.Generator, noise: NoiseKind) -> None:
        """No latent."""

    def forward(self, latent: Tensor) -> Tensor:
        """Never called, because there is no latent."""
        raise AssertionError("noise_mapping.none has no latent to map")
