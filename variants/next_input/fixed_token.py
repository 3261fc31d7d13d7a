"""One learned vector asks for every word: q_t = q, beside the words so far (two streams)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from core.config import StrategyConfig
from core.types import NoiseKind, Shape


class FixedToken(nn.Module):
    """The same learned vector asks for every word."""

    class Config(StrategyConfig):
        """No settings."""

        name: Literal["fixed_token"] = "fixed_token"

    offers = frozenset({"next_input"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "the card's first axis"
    streams = 2

    def __init__(self, config: Config, shape: Shape, width: int) -> None:
        super().__init__()
        self.length = shape.length
        self.query = nn.Parameter(torch.randn(width))

    def draw(self, count: int, rng: torch.Generator, noise: NoiseKind) -> None:
        """Draws nothing."""

    def queries(self, drawn: Tensor | None, count: int) -> Tensor:
        """The vector at every step (N, S, E)."""
        return self.query.expand(count, self.length, -1)
