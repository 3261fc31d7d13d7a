"""A per-step discriminator that scores every next word at once.

    D_t(x_1 .. x_t) = <q(h_(t-1)), e_(x_t)> + v(h_(t-1)),    h the states of an LSTM,

with e_w the row of word w in the bias-free first layer: the projection of Miyato & Koyama 2018,
conditioned on the words so far. The optimal D_t of cross-entropy, the log ratio of real and drawn
prefixes, is of this form as soon as the next word's own log ratio is a bilinear one. An estimator
may ask for q and v (`queries`) and so has the score of all V continuations of a prefix for one
matrix product, where a D that reads x_t into its state needs V steps.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from core.config import Search, StrategyConfig
from core.nn.regularisation import Dropout, spectrally_normalised
from core.types import DiscriminatorInput, Shape


class ProjectionDiscriminator(nn.Module):
    """An LSTM over the words so far, whose output is compared with every next word."""

    class Config(StrategyConfig):
        """Sizes; `dropout` of the embedded words and of the LSTM's outputs."""

        name: Literal["projection"] = "projection"
        width: Annotated[int, Field(ge=1, le=8192), Search(64, 512, log=True)] = 128  # E
        hidden: Annotated[int, Field(ge=1, le=8192), Search(64, 512, log=True)] = 128  # of a layer
        layers: Annotated[int, Field(ge=1, le=16), Search(1, 3)] = 1
        dropout: Annotated[float, Field(ge=0, lt=1), Search(0, 0.5)] = 0.1
        spectral_norm: bool = False  # of each weight behind the projection

    offers = frozenset({"step_scores", "word_scores", "embedded_words", "trimming"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "Miyato & Koyama 2018 (projection); de Masson d'Autume et al. 2019 (a score a step)"

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        E, H = config.width, config.hidden
        self.embedding = nn.Parameter(nn.Linear(shape.vocabulary, E).weight.detach().T.clone())
        self.start = nn.Parameter(torch.zeros(E))
        self.lstm = nn.LSTM(E, H, config.layers, batch_first=True)
        self.norm = nn.LayerNorm(H)
        self.drop_words, self.drop_outputs = Dropout(config.dropout), Dropout(config.dropout)
        self.query = nn.Linear(H, E)
        self.value = nn.Linear(H, 1)
        if config.spectral_norm:
            spectrally_normalised(self)

    def forward(self, words: DiscriminatorInput) -> Tensor:
        """Scores (N, S) of words."""
        return self.score(words.embed(self.embedding), words.mask)

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Embedded words (N, S, E), mask (N, S) True where visible, to scores (N, S)."""
        queries, values = self.queries(embedded)
        scores = (queries * embedded).sum(-1) + values
        return scores if mask is None else scores * mask

    def queries(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """Of the words before each step of embedded (N, S, E): q (N, S, E) and v (N, S)."""
        start = self.start.expand(len(embedded), 1, -1)
        x = self.drop_words(torch.cat([start, embedded[:, :-1]], dim=1))
        h = self.drop_outputs(self.norm(self.lstm(x)[0]))  # (N, S, H)
        return self.query(h), self.value(h).squeeze(-1)
