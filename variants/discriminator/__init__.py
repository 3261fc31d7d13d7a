"""Sentences to scores: high means real."""

from abc import ABC, abstractmethod
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from core.config import Search, StrategyConfig
from core.interfaces import Strategy
from core.types import DiscriminatorInput

Size = Annotated[int, Field(ge=1, le=8192)]
SearchedSize = Annotated[int, Field(ge=1, le=8192), Search(64, 512, log=True)]
DropoutRate = Annotated[float, Field(ge=0, lt=1), Search(0, 0.5)]


class LSTMSizes(StrategyConfig):
    """Sizes of LSTM layers."""

    width: SearchedSize = 128  # E
    hidden: SearchedSize = 128  # of a layer
    layers: Annotated[int, Field(ge=1, le=16), Search(1, 3)] = 1


class EmbeddingDiscriminator(nn.Module, Strategy, ABC):
    """A discriminator whose first layer is a bias-free projection V -> E."""

    def __init__(self, embedding: Tensor) -> None:
        super().__init__()
        self.embedding = nn.Parameter(embedding)

    def forward(self, d_input: DiscriminatorInput) -> Tensor:
        """Scores of sentences."""
        return self.score(d_input.embed(self.embedding), d_input.mask)

    @abstractmethod
    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """See `core.interfaces.Discriminator.score`."""


def first_layer(vocabulary: int, width: int) -> Tensor:
    """(V, E), with the initial values of torch's linear layer for one-hot tokens."""
    return nn.Linear(vocabulary, width).weight.detach().T.clone()
