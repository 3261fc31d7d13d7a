"""Compiled steps of recurrent layers against torch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numba import njit
from torch import nn

from core.nn import simd
from core.nn.recurrent_step import FrozenLayer


@pytest.mark.parametrize(("N", "inputs", "hidden"), [(1, 1, 1), (5, 7, 33), (16, 40, 64)])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_steps_are_torchs(
    kind: type[nn.LSTM] | type[nn.GRU], N: int, inputs: int, hidden: int
) -> None:
    torch.manual_seed(0)
    layer = kind(inputs, hidden, batch_first=True)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(3)
    frozen = FrozenLayer(layer)
    ours = theirs = None
    with torch.no_grad():
        for _ in range(6):
            x = torch.randn(N, 1, inputs) * 3
            y, ours = frozen(x, ours)
            expected, theirs = layer(x, theirs)
            torch.testing.assert_close(y, expected, rtol=1e-5, atol=2e-6)
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=2e-6)


def test_a_step_leaves_the_state_that_it_began_with() -> None:
    layer = FrozenLayer(nn.LSTM(16, 32, batch_first=True))
    x = torch.randn(8, 1, 16)
    _, state = layer(x, None)
    before = [part.clone() for part in state]
    first = layer(x, state)[0]
    assert torch.equal(layer(x, state)[0], first)
    assert all(torch.equal(a, b) for a, b in zip(state, before, strict=True))


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_squashings_are_exact_to_rounding(name: str) -> None:
    function = getattr(simd, name)

    @njit
    def walk(x: np.ndarray, y: np.ndarray) -> None:
        for i in range(0, x.size, simd.LANES):
            simd.store(y.ctypes.data + 4 * i, function(simd.load(x.ctypes.data + 4 * i)))

    x = np.linspace(-120, 120, 4096 * simd.LANES).astype(np.float32)
    x[: simd.LANES] = np.nan
    y = np.empty_like(x)
    walk(x, y)
    assert np.isnan(y[: simd.LANES]).all()
    wide = x[simd.LANES :].astype(np.float64)
    exact = np.tanh(wide) if name == "tanh" else (1 + np.tanh(wide / 2)) / 2
    assert np.abs(y[simd.LANES :] - exact).max() < 1.2e-7
