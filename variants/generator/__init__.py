"""Generators: noise to tokens."""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import nn

from core.config import Search, StrategyConfig
from core.interfaces import NextInput, NoiseMapping, Strategy
from core.nn.recurrent import RecurrentGenerator, Stack, TiedHead
from core.types import Shape


class LayeredGenerator(RecurrentGenerator, Strategy):
    """L recurrent layers that read the next input. Input and output embeddings are separate, or
    `tied`: one table of width E, with one projection to the layers and back (ScratchGAN's code for
    one layer).
    """

    class Config(StrategyConfig):
        """Sizes; `dropout` of the inputs and of every layer's outputs."""

        width: Annotated[int, Field(ge=1, le=8192), Search(64, 512, log=True)] = 128  # E
        hidden: Annotated[int, Field(ge=1, le=8192)] | None = None  # of a layer; None: width
        layers: Annotated[int, Field(ge=1, le=16), Search(1, 3)] = 1
        dropout: Annotated[float, Field(ge=0, lt=1), Search(0, 0.5)] = 0.0
        tied: bool = False

    layer: ClassVar[type[nn.LSTM] | type[nn.GRU]]

    def __init__(
        self, config: Config, shape: Shape, next_input: NextInput, noise_mapping: NoiseMapping
    ) -> None:
        super().__init__(config, shape, next_input, noise_mapping)
        if config.tied:
            self.head = TiedHead(self.embedding)

    def new_body(self, config: Config, inputs: int) -> Stack:
        """The layers."""
        H = config.hidden or config.width
        return Stack(self.layer, inputs, H, config.layers, config.width if config.tied else None)
