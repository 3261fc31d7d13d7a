"""An LSTM whose output scores every possible next token: see `NextTokenScores`."""

from torch import Tensor, nn

from core.nn.regularisation import Dropout, spectrally_normalised
from core.types import Shape
from variants.discriminator import DropoutRate, LSTMSizes, NextTokenScores


class ProjectionDiscriminator(NextTokenScores):
    """An LSTM over the tokens so far whose output scores every possible next token."""

    class Config(LSTMSizes):
        """Sizes; `dropout` of the embedded tokens and of the LSTM's outputs."""

        dropout: DropoutRate = 0.1
        tied: bool = True  # one vector for a token that is read and one that is scored
        spectral_norm: bool = False  # of every weight after the projection

    paper = "Miyato & Koyama 2018 (projection); de Masson d'Autume et al. 2019 (one score per step)"

    def __init__(self, config: Config, shape: Shape) -> None:
        E, H = config.width, config.hidden
        super().__init__(shape.vocabulary, E, tied=config.tied)
        self.lstm = nn.LSTM(E, H, config.layers, batch_first=True)
        self.norm = nn.LayerNorm(H)
        self.drop_words, self.drop_outputs = Dropout(config.dropout), Dropout(config.dropout)
        self.scores_from(H, E)
        if config.spectral_norm:
            spectrally_normalised(self)

    def states(self, read: Tensor) -> Tensor:
        """See `NextTokenScores.states`."""
        return self.drop_outputs(self.norm(self.lstm(self.drop_words(read))[0]))
