"""The last token: the usual autoregressive input (one stream).

The first step has no last token. `first = "noise"` uses a noise vector instead, as the original
does; `first = "start"` a learned start token.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from core.config import StrategyConfig
from core.interfaces import Strategy
from core.nn.noise import draw_noise
from core.types import NoiseKind, Shape


class LastToken(nn.Module, Strategy):
    """The last token; the first step reads noise or a learned start token."""

    class Config(StrategyConfig):
        """Input of the first step."""

        first: Literal["noise", "start"] = "noise"

    paper = "Graves 2013; first = noise: the original gan_textgen"
    streams = 1

    def __init__(self, config: Config, shape: Shape, width: int) -> None:
        super().__init__()
        self.width = width
        self.start = nn.Parameter(torch.randn(width)) if config.first == "start" else None

    def draw(self, count: int, rng: torch.Generator, noise: NoiseKind) -> Tensor | None:
        """One vector per sentence (N, 1, E), or nothing with a start token."""
        return draw_noise(noise, (count, 1, self.width), rng) if self.start is None else None

    def queries(self, drawn: Tensor | None, count: int) -> Tensor:
        """The first input (N, 1, E)."""
        if self.start is not None:
            return self.start.expand(count, 1, -1)
        assert drawn is not None
        return drawn
