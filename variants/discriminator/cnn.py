"""SeqGAN's discriminator: convolutions of many widths, maximum over time, one score.

A bias-free projection V -> E; for each kernel the maximum over time of its filters; one highway
layer; dropout; a linear layer to one score (the difference of the paper's two logits). Tokens after
the end are zero vectors. Kernels longer than the sentences are left out.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor

from core.config import Search, StrategyConfig
from core.nn.convolution import Counts, Highway, MaxOverTime, fitting, one_count_a_kernel
from core.nn.regularisation import DecayedLinear, Dropout, spectrally_normalised
from core.types import Shape
from variants.discriminator import DropoutRate, EmbeddingDiscriminator


class CNNDiscriminator(EmbeddingDiscriminator):
    """SeqGAN's CNN: convolutions, maximum over time, highway; one score per sentence."""

    class Config(StrategyConfig):
        """Sizes, the paper's for length 20; `filters` of each of the `kernels`."""

        width: Annotated[int, Field(ge=1, le=8192), Search(32, 256, log=True)] = 64  # E
        kernels: Counts = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20)
        filters: Counts = (100, 200, 200, 200, 200, 100, 100, 100, 100, 100, 160, 160)
        dropout: DropoutRate = 0.25
        spectral_norm: bool = False  # of every weight after the projection
        # L2 penalty on the last layer only; .2 in the published code, which keeps scores small.
        output_decay: Annotated[float, Field(ge=0, le=10)] = 0.0

        @model_validator(mode="after")
        def _one_count_a_kernel(self) -> CNNDiscriminator.Config:
            one_count_a_kernel(self.kernels, self.filters)
            return self

    offers = frozenset({"embedded_tokens", "features"})
    paper = "Yu et al. 2017; Kim 2014"

    def __init__(self, config: Config, shape: Shape) -> None:
        E = config.width
        super().__init__(torch.empty(shape.vocabulary, E).uniform_(-1, 1))
        self.responses = MaxOverTime(E, *fitting(config.kernels, config.filters, shape.length))
        self.width = self.responses.features  # F
        self.highway = Highway(self.width)
        self.dropout = Dropout(config.dropout)
        self.out = DecayedLinear(self.width, 1, config.output_decay)
        if config.spectral_norm:
            spectrally_normalised(self)

    def features(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """The input of the last layer (N, F)."""
        x = embedded if mask is None else embedded * mask.unsqueeze(-1)
        return self.highway(self.responses(x.transpose(1, 2)))

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Embedded tokens (N, S, E), mask (N, S) True where visible, to scores (N,)."""
        return self.out(self.dropout(self.features(embedded, mask))).squeeze(-1)
