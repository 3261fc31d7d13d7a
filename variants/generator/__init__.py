"""Generators: noise to tokens."""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import nn

from core.config import Search, StrategyConfig
from core.interfaces import Strategy
from core.nn.recurrent import RecurrentGenerator, Stack


class LayeredGenerator(RecurrentGenerator, Strategy):
    """L recurrent layers that read the next input; separate input and output embeddings."""

    class Config(StrategyConfig):
        """Sizes; `dropout` of the inputs and of every layer's outputs."""

        width: Annotated[int, Field(ge=1, le=8192), Search(64, 512, log=True)] = 128  # E
        hidden: Annotated[int, Field(ge=1, le=8192)] | None = None  # of a layer; None: width
        layers: Annotated[int, Field(ge=1, le=16), Search(1, 3)] = 1
        dropout: Annotated[float, Field(ge=0, lt=1), Search(0, 0.5)] = 0.0

    layer: ClassVar[type[nn.LSTM] | type[nn.GRU]]

    def new_body(self, config: Config, inputs: int) -> Stack:
        """The layers."""
        return Stack(self.layer, inputs, config.hidden or config.width, config.layers)
