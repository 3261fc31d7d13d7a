"""One learned vector is the query of every step: q_t = q, next to the tokens (two streams)."""

import torch
from torch import Tensor, nn

from core.config import StrategyConfig
from core.interfaces import Strategy
from core.types import NoiseKind, Shape


class FixedToken(nn.Module, Strategy):
    """The same learned vector is the query of every step."""

    paper = "one of the original design axes"
    streams = 2

    def __init__(self, config: StrategyConfig, shape: Shape, width: int) -> None:
        super().__init__()
        self.length = shape.length
        self.query = nn.Parameter(torch.randn(width))

    def draw(self, count: int, rng: torch.Generator, noise: NoiseKind) -> None:
        """No noise."""

    def queries(self, drawn: Tensor | None, count: int) -> Tensor:
        """The vector at every step (N, S, E)."""
        return self.query.expand(count, self.length, -1)
