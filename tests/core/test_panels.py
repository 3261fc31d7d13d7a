"""Products in panels are products."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from core.nn.linear import frozen


@pytest.mark.parametrize(("N", "K", "C"), [(1, 1, 1), (8, 64, 64), (19, 7, 33), (64, 100, 130)])
def test_a_frozen_layer_is_the_layer_as_it_was(N: int, K: int, C: int) -> None:
    layer, x = nn.Linear(K, C), torch.randn(N, 2 * K)[:, ::2]
    with torch.no_grad():
        expected = layer.double()(x.double())
        product = frozen(layer.float())
        layer.weight.zero_()
    torch.testing.assert_close(product(x).double(), expected, rtol=1e-5, atol=1e-5)


def test_a_layer_may_have_no_bias() -> None:
    layer, x = nn.Linear(5, 3, bias=False), torch.randn(4, 5)
    torch.testing.assert_close(frozen(layer)(x), layer(x).detach(), rtol=1e-5, atol=1e-6)


def test_other_types_stay_torchs() -> None:
    layer, x = nn.Linear(5, 3).double(), torch.randn(4, 5, dtype=torch.float64)
    torch.testing.assert_close(frozen(layer)(x), layer(x).detach(), rtol=0, atol=0)
