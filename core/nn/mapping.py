"""The mapping network: M linear layers of one width, in the original with nothing between them
(so that the whole is one linear map), optionally with a leaky ReLU as in Karras et al. 2019.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from core.nn.linear import Linear

SLOPE = 0.2


def linear_layers(
    depth: int, width: int, activation: Literal["none", "leaky_relu"]
) -> nn.Sequential:
    """`depth` layers width -> width; depth 0 is the identity."""
    layers: list[nn.Module] = []
    for number in range(depth):
        if number > 0 and activation == "leaky_relu":
            layers.append(nn.LeakyReLU(SLOPE))
        layers.append(Linear(width, width))
    return nn.Sequential(*layers)
