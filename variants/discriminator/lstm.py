"""ScratchGAN's discriminator: a score a step, of the words so far.

A bias-free projection V -> E of the words; sinusoidal positions of a few numbers beside it; L LSTM
layers, each layer's output normalised and the layers side by side; a linear layer gives the score
of each step, D_t(x_1 .. x_t), without activation. Scores behind the end are zero.

Deviations from the paper's code: layer norm on the outputs of a layer instead of on its gates,
which keeps torch's fused LSTM; no linear layer before the first LSTM, whose own input map is one.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from core.config import Search, StrategyConfig
from core.nn.layers import sinusoidal
from core.nn.regularisation import Dropout, spectrally_normalised
from core.types import DiscriminatorInput, Shape


class LSTMDiscriminator(nn.Module):
    """An LSTM over the words, one score a step."""

    class Config(StrategyConfig):
        """Sizes; `dropout` of the embedded words and of the layers' outputs."""

        name: Literal["lstm"] = "lstm"
        width: Annotated[int, Field(ge=1, le=8192), Search(64, 512, log=True)] = 128  # E
        hidden: Annotated[int, Field(ge=1, le=8192), Search(64, 512, log=True)] = 128  # of a layer
        layers: Annotated[int, Field(ge=1, le=16), Search(1, 3)] = 1
        positions: Annotated[int, Field(ge=0, le=512)] = 8  # numbers of a position; 0: none
        layer_norm: bool = True
        dropout: Annotated[float, Field(ge=0, lt=1), Search(0, 0.5)] = 0.1
        spectral_norm: bool = False  # of each weight behind the projection

    offers = frozenset({"step_scores", "embedded_words", "trimming"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "de Masson d'Autume et al. 2019"

    positions: Tensor

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        E, H = config.width, config.hidden
        self.embedding = nn.Parameter(nn.Linear(shape.vocabulary, E).weight.detach().T.clone())
        sizes = [E + config.positions, *[H] * (config.layers - 1)]
        self.layers = nn.ModuleList(nn.LSTM(size, H, batch_first=True) for size in sizes)
        self.norms = nn.ModuleList(
            nn.LayerNorm(H) if config.layer_norm else nn.Identity() for _ in sizes
        )
        self.drop_words, self.drop_outputs = Dropout(config.dropout), Dropout(config.dropout)
        self.out = nn.Linear(H * config.layers, 1)
        table = sinusoidal(shape.length, config.positions) if config.positions else None
        self.register_buffer("positions", table, persistent=False)
        if config.spectral_norm:
            spectrally_normalised(self)

    def forward(self, words: DiscriminatorInput) -> Tensor:
        """Scores (N, S) of words."""
        return self.score(words.embed(self.embedding), words.mask)

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Embedded words (N, S, E), mask (N, S) True where visible, to scores (N, S)."""
        N, S, _ = embedded.shape
        x = self.drop_words(embedded)
        if self.positions is not None:
            x = torch.cat([x, self.positions[:S].expand(N, -1, -1)], dim=-1)
        outputs = []
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = norm(layer(x)[0])
            outputs.append(x)
        x = self.drop_outputs(torch.cat(outputs, dim=-1))  # (N, S, H L)
        scores: Tensor = self.out(x).squeeze(-1)
        return scores if mask is None else scores * mask
