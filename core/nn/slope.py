"""How steep D is at some sentences, in its embedding space."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from core.nn.stacked import stacked
from core.nn.twice import twice_differentiable
from core.protocols import Discriminator
from core.sentences import Rows, Scores


def slope(scores: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The gradient of the sum of scores at embedded words x (N, S, E), in their shape; to be
    differentiated again.
    """
    with twice_differentiable():
        if stacked():  # one program: a function of functions, not a graph that was recorded
            found: Tensor = torch.func.grad(lambda y: scores(y).sum())(x)
            return found
        (g,) = torch.autograd.grad(scores(x).sum(), x, create_graph=True)
    return g


def squared_slope(discriminator: Discriminator, rows: Rows) -> Tensor:
    """||grad D(x)||^2 (N,) with respect to embedded words x (N, S, E), differentiable in D.

    Hard words have no neighbours but in the embedding space, so it is taken there. A per-step
    discriminator's scores are summed, which keeps one gradient a sentence.
    """
    g = slope(lambda x: Scores.by(discriminator, Rows(x, rows.mask)).values, rows.embedded)
    return g.square().sum((1, 2))
