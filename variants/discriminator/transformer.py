"""The original's discriminator: tokens or distributions to one score.

A bias-free projection V -> E of one-hot tokens or distributions, concatenated with sinusoidal
positions of width E (2E); B backbone blocks of T layers each, every block optionally followed by a
pooling that halves the length; a learned class token in front; O output blocks; a linear layer on
the row of the class token gives the score, without activation.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, max_pool1d, pad

from core.config import Search, StrategyConfig
from core.nn.layers import Block, padding_mask, sinusoidal
from core.types import Shape
from variants.discriminator import EmbeddingDiscriminator, SearchedSize, first_layer

CLASS_ROW = slice(0, 1)


class TransformerDiscriminator(EmbeddingDiscriminator):
    """The original discriminator: a transformer with a class token; one score per sentence."""

    class Config(StrategyConfig):
        """Sizes; E is the projection's width, all later layers are 2E wide."""

        width: SearchedSize = 64
        hidden: Annotated[int, Field(ge=1, le=65536), Search(64, 2048, log=True)] = 512
        heads: Annotated[int, Field(ge=1, le=128)] = 8
        layers_per_block: Annotated[int, Field(ge=1, le=16)] = 2
        backbone_blocks: Annotated[int, Field(ge=0, le=64), Search(0, 8)] = 6
        output_blocks: Annotated[int, Field(ge=1, le=64), Search(1, 8)] = 6
        pooling: Literal["none", "avg", "max"] = "none"

        @model_validator(mode="after")
        def _heads_divide_width(self) -> TransformerDiscriminator.Config:
            if 2 * self.width % self.heads:
                raise ValueError(f"2 x width {self.width} must be a multiple of heads {self.heads}")
            return self

    offers = frozenset({"embedded_tokens", "trimming"})
    paper = "the original gan_textgen; Vaswani et al. 2017"

    positions: Tensor

    def __init__(self, config: Config, shape: Shape) -> None:
        E, width = config.width, 2 * config.width
        super().__init__(first_layer(shape.vocabulary, E))
        self.pooling = config.pooling
        if config.pooling != "none":  # which mixes masked rows with visible ones
            self.offers = self.offers - {"trimming"}
        self.backbone = nn.ModuleList(
            nn.ModuleList(
                Block(width, config.hidden, config.heads) for _ in range(config.layers_per_block)
            )
            for _ in range(config.backbone_blocks)
        )
        self.class_token = nn.Parameter(torch.randn(width))
        self.output = nn.ModuleList(
            Block(width, config.hidden, config.heads) for _ in range(config.output_blocks)
        )
        self.out = nn.Linear(width, 1)
        self.register_buffer("positions", sinusoidal(shape.length, E), persistent=False)

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Embedded tokens (N, S, E), mask (N, S) True where visible, to scores (N,)."""
        N, S, _ = embedded.shape
        x = torch.cat([embedded, self.positions[:S].expand(N, -1, -1)], dim=-1)  # (N, S, 2E)
        seen = padding_mask(mask)
        for block in self.backbone:
            for layer in block:  # type: ignore[attr-defined]
                x = layer(x, seen)
            if self.pooling != "none" and x.shape[1] > 1:
                x, mask = self._pool(x, mask)
                seen = padding_mask(mask)
        x = torch.cat([self.class_token.expand(N, 1, -1), x], dim=1)
        seen = padding_mask(None if mask is None else pad(mask, (1, 0), value=True))
        for block in self.output[:-1]:
            x = block(x, seen)
        x = self.output[-1](x, seen, CLASS_ROW)
        return self.out(x[:, 0]).squeeze(-1)

    def _pool(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Halve the length (rounding up); a pooled row is visible if any of its rows was."""
        by_channel = x.transpose(1, 2)
        if self.pooling == "avg":
            pooled = avg_pool1d(by_channel, 2, ceil_mode=True)
        else:
            pooled = max_pool1d(by_channel, 2, ceil_mode=True)
        if mask is not None:
            mask = max_pool1d(mask.float().unsqueeze(1), 2, ceil_mode=True).squeeze(1) > 0
        return pooled.transpose(1, 2), mask
