"""Sentences to scores: high means real."""

from abc import ABC, abstractmethod
from typing import Annotated

import torch
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


class NextTokenScores(EmbeddingDiscriminator):
    """A per-step discriminator that scores every possible next token at once.

        D_t(x_1 .. x_t) = <q(h_(t-1)), e_(x_t)> + v(h_(t-1)),    h its states of the tokens so far,

    with e_w the row of token w in the bias-free first layer: the projection discriminator of Miyato
    & Koyama 2018, conditioned on the tokens so far. Untied, a row has two halves: the states read
    the first, and e_w is the second. The optimal D_t of cross-entropy, the log ratio of real and
    generated prefixes, has this form if the log ratio of the next token is bilinear. One matrix
    product of q with the embedding table scores all V continuations of a prefix (`queries`); a D
    that feeds x_t to its state needs V steps.
    """

    offers = frozenset({"step_scores", "next_token_scores", "embedded_tokens", "trimming"})

    def __init__(self, vocabulary: int, width: int, *, tied: bool) -> None:
        super().__init__(first_layer(vocabulary, width if tied else 2 * width))
        self.start = nn.Parameter(torch.zeros(width))

    def scores_from(self, hidden: int, width: int) -> None:
        """Make q and v of states of this size; a subclass calls it when it has made its layers."""
        self.query = nn.Linear(hidden, width)
        self.value = nn.Linear(hidden, 1)

    @abstractmethod
    def states(self, read: Tensor) -> Tensor:
        """From the start and the tokens that are read (N, S, E): h (N, S, H) before each step."""

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Embedded tokens (N, S, E or 2E), mask (N, S) True where visible, to scores (N, S)."""
        queries, values = self.queries(embedded)
        scores = (queries * embedded[..., -queries.shape[-1] :]).sum(-1) + values
        return scores if mask is None else scores * mask

    @property
    def output_embedding(self) -> Tensor:
        """The e of all tokens: the table (V, E), or its second half."""
        return self.embedding[:, -self.query.out_features :]

    def queries(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """Of the tokens before each step of embedded (N, S, E or 2E): q (N, S, E) and v (N, S)."""
        start = self.start.expand(len(embedded), 1, -1)
        read = embedded[:, :-1, : self.query.out_features]
        h = self.states(torch.cat([start, read], dim=1))
        return self.query(h), self.value(h).squeeze(-1)


def first_layer(vocabulary: int, width: int) -> Tensor:
    """(V, E), with the initial values of torch's linear layer for one-hot tokens."""
    return nn.Linear(vocabulary, width).weight.detach().T.clone()
