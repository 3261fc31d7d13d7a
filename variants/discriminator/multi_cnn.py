"""RelGAN's discriminator: many small representations of a sentence, one score for each.

A bias-free projection V -> R w is split into R representations of w numbers per token (64 of one in
the paper). The same convolutions read each of them; maximum over time, highway, dropout and two
linear layers give each representation a score. The objective is computed for every score, then
averaged. Tokens after the end are zero vectors. Kernels longer than the sentences are left out.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from torch import Tensor, nn

from core.config import Search, StrategyConfig
from core.nn.convolution import Counts, Highway, MaxOverTime, fitting, one_count_a_kernel
from core.nn.regularisation import Dropout, spectrally_normalised
from core.types import Shape
from variants.discriminator import DropoutRate, EmbeddingDiscriminator, Size, first_layer


class MultiCNNDiscriminator(EmbeddingDiscriminator):
    """RelGAN's CNN: R representations of the sentence, one score for each."""

    class Config(StrategyConfig):
        """Sizes; `width` is that of the projection, split into `representations`."""

        width: Size = 64  # R w
        representations: Annotated[int, Field(ge=1, le=8192), Search(1, 64, log=True)] = 64  # R
        kernels: Counts = (2, 3, 4, 5)
        filters: Counts = (300, 300, 300, 300)
        hidden: Size = 100
        dropout: DropoutRate = 0.25
        spectral_norm: bool = False  # of every weight after the projection

        @model_validator(mode="after")
        def _parts_are_equal(self) -> MultiCNNDiscriminator.Config:
            if self.width % self.representations:
                raise ValueError(
                    f"width {self.width} must be a multiple of representations "
                    f"{self.representations}"
                )
            one_count_a_kernel(self.kernels, self.filters)
            return self

    offers = frozenset({"embedded_tokens"})
    paper = "Nie et al. 2019"

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(first_layer(shape.vocabulary, config.width))
        self.representations = config.representations
        self.responses = MaxOverTime(
            config.width // config.representations,
            *fitting(config.kernels, config.filters, shape.length),
        )
        features = self.responses.features
        self.highway = Highway(features)
        self.dropout = Dropout(config.dropout)
        self.out = nn.Sequential(nn.Linear(features, config.hidden), nn.Linear(config.hidden, 1))
        if config.spectral_norm:
            spectrally_normalised(self)

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Embedded tokens (N, S, R w), mask (N, S) True where visible, to scores (N, R)."""
        N, S, width = embedded.shape
        R = self.representations
        x = embedded if mask is None else embedded * mask.unsqueeze(-1)
        x = x.view(N, S, R, width // R).permute(0, 2, 3, 1).reshape(N * R, width // R, S)
        scores: Tensor = self.out(self.dropout(self.highway(self.responses(x))))
        return scores.view(N, R)
