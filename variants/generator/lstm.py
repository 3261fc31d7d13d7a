"""A recurrent generator of L LSTM layers.

Sizes of published systems: SeqGAN one layer, width 32 and hidden 32; ScratchGAN two layers of 512.
"""

from torch import nn

from variants.generator import LayeredGenerator


class LSTMGenerator(LayeredGenerator):
    """LSTM layers over the tokens so far."""

    paper = "Hochreiter & Schmidhuber 1997; Graves 2013"
    layer = nn.LSTM
