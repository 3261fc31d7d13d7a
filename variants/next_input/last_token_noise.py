"""The last word with noise on it asks for the next: q_t = e(w_{t-1}) + scale z_t (one stream).

Every word is asked for by noise, as with `noise`, at the cost of one stream: no query stands beside
the words, so a step computes one row, not two. The noise is part of the word's own row, so later
steps see it too. The first word is asked for by its noise alone.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from core.config import Search, StrategyConfig
from core.nn.noise import draw_noise
from core.types import NoiseKind, Shape


class LastTokenNoise(nn.Module):
    """The last word, a fresh noise vector added to its embedding, asks for the next."""

    class Config(StrategyConfig):
        """How loud the noise is; its distribution is `model.noise`."""

        name: Literal["last_token_noise"] = "last_token_noise"
        scale: Annotated[float, Field(gt=0, le=100), Search(0.1, 10, log=True)] = 1.0

    offers = frozenset({"next_input"})
    needs: ClassVar[dict[str, str]] = {}
    paper = ""
    streams = 1

    def __init__(self, config: Config, shape: Shape, width: int) -> None:
        super().__init__()
        self.scale, self.length, self.width = config.scale, shape.length, width

    def draw(self, count: int, rng: torch.Generator, noise: NoiseKind) -> Tensor:
        """One vector a step: (N, S, E)."""
        return draw_noise(noise, (count, self.length, self.width), rng)

    def queries(self, drawn: Tensor | None, count: int) -> Tensor:
        """What is added to the last word of every step (N, S, E)."""
        assert drawn is not None
        return self.scale * drawn
