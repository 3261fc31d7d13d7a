"""A language model with a scalar head: LSTM layers over a start token and the sentence; a linear
layer on the state after the last token gives the score.

With the sizes of an LSTM generator and `train.discriminator_from_generator` it begins as the
pretrained language model, as the discriminator of GAD begins as the student (Ye et al. 2025).
"""

import torch
from torch import Tensor, nn

from core.nn.regularisation import Dropout
from core.types import Shape
from variants.discriminator import DropoutRate, EmbeddingDiscriminator, LSTMSizes, first_layer


class LSTMLastDiscriminator(EmbeddingDiscriminator):
    """An LSTM language model with a scalar head: one score per sentence, of its last state."""

    class Config(LSTMSizes):
        """Sizes; `dropout` of the inputs and of every layer's outputs."""

        dropout: DropoutRate = 0.0

    offers = frozenset({"embedded_tokens", "trimming"})
    paper = "Ye et al. 2025 (scalar head on a language model)"

    def __init__(self, config: Config, shape: Shape) -> None:
        E, H = config.width, config.hidden
        super().__init__(first_layer(shape.vocabulary, E))
        self.start = nn.Parameter(torch.zeros(E))
        self.layers = nn.ModuleList(
            nn.LSTM(size, H, batch_first=True) for size in [E, *[H] * (config.layers - 1)]
        )
        self.drops = nn.ModuleList(Dropout(config.dropout) for _ in range(config.layers + 1))
        self.out = nn.Linear(H, 1)

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Embedded tokens (N, S, E), mask (N, S) True where visible, to scores (N,)."""
        N, S, _ = embedded.shape
        x = self.drops[0](torch.cat([self.start.expand(N, 1, -1), embedded], dim=1))
        for layer, drop in zip(self.layers, self.drops[1:], strict=True):
            x = drop(layer(x)[0])  # (N, 1 + S, H)
        last = x.new_full((N,), S, dtype=torch.long) if mask is None else mask.sum(1)
        return self.out(x[torch.arange(N, device=x.device), last]).squeeze(-1)
