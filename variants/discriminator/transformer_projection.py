"""A causal transformer whose output scores every possible next token: `projection` with attention
in place of the LSTM.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from torch import Tensor, nn

from core.config import Search, StrategyConfig
from core.nn.layers import Block, causal_mask, sinusoidal
from core.nn.regularisation import Dropout
from core.types import Shape
from variants.discriminator import DropoutRate, NextTokenScores, SearchedSize


class TransformerProjectionDiscriminator(NextTokenScores):
    """A causal transformer over the tokens so far whose output scores every possible next token."""

    class Config(StrategyConfig):
        """Sizes; `dropout` of the embedded tokens and of the last block's outputs."""

        width: SearchedSize = 64
        hidden: Annotated[int, Field(ge=1, le=65536), Search(64, 2048, log=True)] = 256
        heads: Annotated[int, Field(ge=1, le=128)] = 4
        layers: Annotated[int, Field(ge=1, le=64), Search(1, 8)] = 2
        dropout: DropoutRate = 0.1
        tied: bool = True  # one vector for a token that is read and one that is scored

        @model_validator(mode="after")
        def _heads_divide_width(self) -> TransformerProjectionDiscriminator.Config:
            if self.width % self.heads:
                raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
            return self

    paper = "Miyato & Koyama 2018 (projection); Vaswani et al. 2017 (transformer)"

    positions: Tensor

    def __init__(self, config: Config, shape: Shape) -> None:
        E = config.width
        super().__init__(shape.vocabulary, E, tied=config.tied)
        self.blocks = nn.ModuleList(
            Block(E, config.hidden, config.heads) for _ in range(config.layers)
        )
        self.drop_words, self.drop_outputs = Dropout(config.dropout), Dropout(config.dropout)
        self.scores_from(E, E)
        self.register_buffer("positions", sinusoidal(shape.length, E), persistent=False)

    def states(self, read: Tensor) -> Tensor:
        """See `NextTokenScores.states`."""
        S = read.shape[1]
        x, seen = self.drop_words(read + self.positions[:S]), causal_mask(S, read.device)
        for block in self.blocks:
            x = block(x, seen)
        return self.drop_outputs(x)
