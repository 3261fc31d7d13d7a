"""SeqGAN's discriminator: convolutions of many widths, the strongest response of each, a score.

A bias-free projection V -> E of the words; for each kernel its filters' maximum over time; one
highway layer; dropout; a linear layer to one score (the paper's two classes come to the difference
of their logits). Tokens after the end are zero vectors. Kernels longer than the sentences are left
out.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from core.config import Search, StrategyConfig
from core.nn.convolution import Counts, Highway, MaxOverTime, fitting, one_count_a_kernel
from core.nn.regularisation import DecayedLinear, Dropout, spectrally_normalised
from core.types import DiscriminatorInput, Shape


class CNNDiscriminator(nn.Module):
    """Convolutions, maximum over time, highway, one score a sentence."""

    class Config(StrategyConfig):
        """Sizes, the paper's for length 20; `filters` of each of the `kernels`."""

        name: Literal["cnn"] = "cnn"
        width: Annotated[int, Field(ge=1, le=8192), Search(32, 256, log=True)] = 64  # E
        kernels: Counts = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20)
        filters: Counts = (100, 200, 200, 200, 200, 100, 100, 100, 100, 100, 160, 160)
        dropout: Annotated[float, Field(ge=0, lt=1), Search(0, 0.5)] = 0.25
        spectral_norm: bool = False  # of each weight behind the projection
        # L2 penalty on the last layer alone; .2 in the published code keeps D from being sure.
        output_decay: Annotated[float, Field(ge=0, le=10)] = 0.0

        @model_validator(mode="after")
        def _one_count_a_kernel(self) -> CNNDiscriminator.Config:
            one_count_a_kernel(self.kernels, self.filters)
            return self

    offers = frozenset({"scores", "embedded_words", "features"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "Yu et al. 2017; Kim 2014"

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        E = config.width
        self.embedding = nn.Parameter(torch.empty(shape.vocabulary, E).uniform_(-1, 1))
        self.responses = MaxOverTime(E, *fitting(config.kernels, config.filters, shape.length))
        self.width = self.responses.features  # F
        self.highway = Highway(self.width)
        self.dropout = Dropout(config.dropout)
        self.out = DecayedLinear(self.width, 1, config.output_decay)
        if config.spectral_norm:
            spectrally_normalised(self)

    def forward(self, words: DiscriminatorInput) -> Tensor:
        """Scores (N,) of words."""
        return self.score(words.embed(self.embedding), words.mask)

    def features(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """What the score is a linear function of: (N, F)."""
        x = embedded if mask is None else embedded * mask.unsqueeze(-1)
        result: Tensor = self.highway(self.responses(x.transpose(1, 2)))
        return result

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Embedded words (N, S, E), mask (N, S) True where visible, to scores (N,)."""
        score: Tensor = self.out(self.dropout(self.features(embedded, mask))).squeeze(-1)
        return score
