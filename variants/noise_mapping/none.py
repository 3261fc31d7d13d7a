"""No noise mapping: the noise blocks have nothing to read, and do without cross-attention."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from core.config import StrategyConfig
from core.types import NoiseKind, Shape


class NoMapping(nn.Module):
    """No latent and no memory."""

    class Config(StrategyConfig):
        """No settings."""

        name: Literal["none"] = "none"

    offers: frozenset[str] = frozenset()
    needs: ClassVar[dict[str, str]] = {}
    paper = ""

    def __init__(self, config: Config, shape: Shape, width: int) -> None:
        super().__init__()

    def draw(self, count: int, rng: torch.Generator, noise: NoiseKind) -> None:
        """Draws nothing."""

    def forward(self, latent: Tensor) -> Tensor:
        """Never called: there is no latent."""
        raise AssertionError("a mapping without a latent was asked for its memory")
