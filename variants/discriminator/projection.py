"""A per-step discriminator that scores every possible next token at once.

    D_t(x_1 .. x_t) = <q(h_(t-1)), e_(x_t)> + v(h_(t-1)),    h the states of an LSTM,

with e_w the row of token w in the bias-free first layer: the projection discriminator of Miyato &
Koyama 2018, conditioned on the tokens so far. Untied, a row has two halves: the LSTM reads the
first, and e_w is the second. The optimal D_t of cross-entropy, the log ratio of
real and generated prefixes, has this form if the log ratio of the next token is bilinear. One
matrix product of q with the embedding table scores all V continuations of a prefix (`queries`); a D
that feeds x_t to its state needs V steps.
"""

import torch
from torch import Tensor, nn

from core.nn.regularisation import Dropout, spectrally_normalised
from core.types import Shape
from variants.discriminator import DropoutRate, EmbeddingDiscriminator, LSTMSizes, first_layer


class ProjectionDiscriminator(EmbeddingDiscriminator):
    """An LSTM over the tokens so far whose output scores every possible next token."""

    class Config(LSTMSizes):
        """Sizes; `dropout` of the embedded tokens and of the LSTM's outputs."""

        dropout: DropoutRate = 0.1
        tied: bool = True  # one vector for a token that is read and one that is scored
        spectral_norm: bool = False  # of every weight after the projection

    offers = frozenset({"step_scores", "next_token_scores", "embedded_tokens", "trimming"})
    paper = "Miyato & Koyama 2018 (projection); de Masson d'Autume et al. 2019 (one score per step)"

    def __init__(self, config: Config, shape: Shape) -> None:
        E, H = config.width, config.hidden
        super().__init__(first_layer(shape.vocabulary, E if config.tied else 2 * E))
        self.start = nn.Parameter(torch.zeros(E))
        self.lstm = nn.LSTM(E, H, config.layers, batch_first=True)
        self.norm = nn.LayerNorm(H)
        self.drop_words, self.drop_outputs = Dropout(config.dropout), Dropout(config.dropout)
        self.query = nn.Linear(H, E)
        self.value = nn.Linear(H, 1)
        if config.spectral_norm:
            spectrally_normalised(self)

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Embedded tokens (N, S, E or 2E), mask (N, S) True where visible, to scores (N, S)."""
        queries, values = self.queries(embedded)
        scores = (queries * embedded[..., -queries.shape[-1] :]).sum(-1) + values
        return scores if mask is None else scores * mask

    @property
    def next_words(self) -> Tensor:
        """See `NextTokenDiscriminator`: the table (V, E), or its second half."""
        return self.embedding[:, -self.query.out_features :]

    def queries(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """Of the tokens before each step of embedded (N, S, E or 2E): q (N, S, E) and v (N, S)."""
        start = self.start.expand(len(embedded), 1, -1)
        read = embedded[:, :-1, : self.query.out_features]
        x = self.drop_words(torch.cat([start, read], dim=1))
        h = self.drop_outputs(self.norm(self.lstm(x)[0]))  # (N, S, H)
        return self.query(h), self.value(h).squeeze(-1)
