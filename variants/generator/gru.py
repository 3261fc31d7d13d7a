"""A recurrent generator of L layers of gated recurrent units."""

from torch import nn

from variants.generator import LayeredGenerator


class GRUGenerator(LayeredGenerator):
    """GRU layers over the tokens so far."""

    paper = "Cho et al. 2014"
    layer = nn.GRU
