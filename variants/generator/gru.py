"""A recurrent generator of L layers of gated recurrent units."""

from typing import Literal

from torch import nn

from variants.generator import LayeredGenerator


class GRUGenerator(LayeredGenerator):
    """GRU layers over the tokens so far."""

    class Config(LayeredGenerator.Config):
        """Sizes; `dropout` of the inputs and of every layer's outputs."""

        name: Literal["gru"] = "gru"

    paper = "Cho et al. 2014"
    layer = nn.GRU
