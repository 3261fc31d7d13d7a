"""A recurrent generator: L layers of LSTM over the words so far.

Sizes of published systems: SeqGAN 32 and 32, one layer; ScratchGAN two layers of 512.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import nn

from core.config import Search, StrategyConfig
from core.interfaces import NextInput, NoiseMapping
from core.nn.recurrent import RecurrentGenerator, Stack
from core.types import Shape
from variants.next_input.last_token import LastToken
from variants.noise_mapping.none import NoMapping


class LSTMGenerator(RecurrentGenerator):
    """LSTM layers, fed the last word; separate input and output embeddings."""

    class Config(StrategyConfig):
        """Sizes; `dropout` of the inputs and of every layer's outputs."""

        name: Literal["lstm"] = "lstm"
        width: Annotated[int, Field(ge=1, le=8192), Search(64, 512, log=True)] = 128  # E
        hidden: Annotated[int, Field(ge=1, le=8192)] | None = None  # of a layer; None: width
        layers: Annotated[int, Field(ge=1, le=16), Search(1, 3)] = 1
        dropout: Annotated[float, Field(ge=0, lt=1), Search(0, 0.5)] = 0.0

    offers = frozenset({"generator"})
    needs: ClassVar[dict[str, str]] = {"next_input": "next_input"}
    paper = "Hochreiter & Schmidhuber 1997; Graves 2013"

    def __init__(
        self, config: Config, shape: Shape, next_input: NextInput, noise_mapping: NoiseMapping
    ) -> None:
        E, hidden = config.width, config.hidden or config.width
        body = Stack(nn.LSTM, E * next_input.streams, hidden, config.layers)
        super().__init__(body, E, config.dropout, shape, next_input, noise_mapping)


def language_model(
    shape: Shape, width: int, layers: int = 1, dropout: float = 0.0
) -> LSTMGenerator:
    """An LSTM over the words alone, from a learned start: what whole systems are made of."""
    return LSTMGenerator(
        LSTMGenerator.Config(width=width, layers=layers, dropout=dropout),
        shape,
        LastToken(LastToken.Config(first="start"), shape, width),
        NoMapping(NoMapping.Config(), shape, width),
    )
