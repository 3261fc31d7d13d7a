"""ScratchGAN's discriminator: a score at every step, of the tokens up to it.

A bias-free projection V -> E, concatenated with a small encoding of the position; L LSTM layers,
the normalised outputs of all layers concatenated; a linear layer gives the score of each step,
D_t(x_1 .. x_t), without activation. Scores after the end are zero.

Deviations from the paper's code: layer norm on a layer's outputs instead of its gates, which keeps
torch's fused LSTM; no linear layer before the first LSTM, which has an input matrix of its own;
dropout of each embedded token instead of the table's elements.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from core.nn.layers import sinusoidal
from core.nn.regularisation import Dropout, spectrally_normalised
from core.types import Shape
from variants.discriminator import DropoutRate, EmbeddingDiscriminator, LSTMSizes, first_layer


class LSTMDiscriminator(EmbeddingDiscriminator):
    """ScratchGAN's LSTM: one score per step, of the tokens so far."""

    class Config(LSTMSizes):
        """Sizes; `dropout` of the embedded tokens, and of the layers' outputs unless
        `output_dropout` says otherwise.
        """

        positions: Annotated[int, Field(ge=0, le=512)] = 8  # width of a position; 0: no positions
        position_signal: Literal["sinusoidal", "shifted"] = "sinusoidal"  # see `shifted_cosines`
        layer_norm: bool = True
        dropout: DropoutRate = 0.1
        output_dropout: DropoutRate | None = None
        spectral_norm: bool = False  # of every weight after the projection

    offers = frozenset({"step_scores", "embedded_tokens", "trimming"})
    paper = "de Masson d'Autume et al. 2019"

    positions: Tensor

    def __init__(self, config: Config, shape: Shape) -> None:
        E, H = config.width, config.hidden
        super().__init__(first_layer(shape.vocabulary, E))
        sizes = [E + config.positions, *[H] * (config.layers - 1)]
        self.layers = nn.ModuleList(nn.LSTM(size, H, batch_first=True) for size in sizes)
        self.norms = nn.ModuleList(
            nn.LayerNorm(H) if config.layer_norm else nn.Identity() for _ in sizes
        )
        after = config.dropout if config.output_dropout is None else config.output_dropout
        self.drop_words, self.drop_outputs = Dropout(config.dropout), Dropout(after)
        self.out = nn.Linear(H * config.layers, 1)
        signal = {"sinusoidal": sinusoidal, "shifted": shifted_cosines}[config.position_signal]
        table = signal(shape.length, config.positions) if config.positions else None
        self.register_buffer("positions", table, persistent=False)
        if config.spectral_norm:
            spectrally_normalised(self)

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Embedded tokens (N, S, E), mask (N, S) True where visible, to scores (N, S)."""
        N, S, _ = embedded.shape
        x = self.drop_words(embedded)
        if self.positions is not None:
            x = torch.cat([x, self.positions[:S].expand(N, -1, -1)], dim=-1)
        outputs = []
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = norm(layer(x)[0])
            outputs.append(x)
        x = self.drop_outputs(torch.cat(outputs, dim=-1))  # (N, S, H L)
        scores = self.out(x).squeeze(-1)
        return scores if mask is None else scores * mask


def shifted_cosines(length: int, width: int) -> Tensor:
    """Positions t as cos(pi (t / period + shift)), (length, width): periods from 2 to the length in
    equal ratios, shifts from 0 to 2 in equal steps, as in ScratchGAN's code.
    """
    share = torch.linspace(0, 1, width)
    turns = torch.arange(length).unsqueeze(1) / (2 * (length / 2) ** share) + 2 * share
    return (torch.pi * turns).cos()
