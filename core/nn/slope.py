"""How steep D is at some sentences, in its embedding space."""

from __future__ import annotations

import torch
from torch import Tensor

from core.nn.twice import twice_differentiable
from core.protocols import Discriminator, Rows, Scores


def squared_slope(discriminator: Discriminator, rows: Rows) -> Tensor:
    """||grad D(x)||^2 (N,) with respect to embedded words x (N, S, E), differentiable in D.

    Hard words have no neighbours but in the embedding space, so it is taken there. A per-step
    discriminator's scores are summed, which keeps one gradient a sentence.
    """
    x = rows.embedded
    with twice_differentiable():
        scores = Scores.by(discriminator, rows).values
        (g,) = torch.autograd.grad(scores.sum(), x, create_graph=True)  # (N, S, E)
    return g.square().sum((1, 2))
