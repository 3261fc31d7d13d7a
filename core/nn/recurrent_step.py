"""One step of LSTM and GRU layers without gradient, float32 on a processor.

In torch's order of gates, with a = W x + b of the input and u = U h + c of the state:

    LSTM  i, f, o = sigmoid(a + u),  g = tanh(a_g + u_g),  c' = f c + i g,  h' = o tanh(c')
    GRU   r, z = sigmoid(a + u),  n = tanh(a_n + r u_n),  h' = (1 - z) n + z h

(Hochreiter & Schmidhuber 1997, Cho et al. 2014.) The products are `core.nn.panels`', each gate in
whole panels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from core.compiled import compiled
from core.nn.panels import ROWS, Array, multiply, panels
from core.nn.simd import LANES, called, load, sigmoid, store, tanh


@called
def _lstm(a: int, u: int, wide: int, c: int, h: int) -> None:
    """The vectors at a and u, gates `wide` bytes apart, and the cell's, which is replaced."""
    i = sigmoid(load(a) + load(u))
    f = sigmoid(load(a + wide) + load(u + wide))
    g = tanh(load(a + 2 * wide) + load(u + 2 * wide))
    o = sigmoid(load(a + 3 * wide) + load(u + 3 * wide))
    cell = f * load(c) + i * g
    store(c, cell)
    store(h, o * tanh(cell))


@compiled
def lstm(a: Array, u: Array, c: Array, h: Array) -> None:
    """Gates (N, 4 H) to cell and output (N, H), all padded to whole vectors."""
    N, H = h.shape
    for n in range(N):
        for k in range(0, H, LANES):
            gate, unit = 4 * (4 * H * n + k), 4 * (H * n + k)
            _lstm(a.ctypes.data + gate, u.ctypes.data + gate, 4 * H, c.ctypes.data + unit,
                  h.ctypes.data + unit)  # fmt: skip


@called
def _gru(a: int, u: int, wide: int, before: int, h: int) -> None:
    """The same of a GRU; `before` is the state that it starts from."""
    r = sigmoid(load(a) + load(u))
    z = sigmoid(load(a + wide) + load(u + wide))
    n = tanh(load(a + 2 * wide) + r * load(u + 2 * wide))
    store(h, n + z * (load(before) - n))


@compiled
def gru(a: Array, u: Array, before: Array, h: Array) -> None:
    """Gates (N, 3 H) and state (N, H) to output (N, H), all padded to whole vectors."""
    N, H = h.shape
    for n in range(N):
        for k in range(0, H, LANES):
            gate, unit = 4 * (3 * H * n + k), 4 * (H * n + k)
            _gru(a.ctypes.data + gate, u.ctypes.data + gate, 4 * H, before.ctypes.data + unit,
                 h.ctypes.data + unit)  # fmt: skip


class FrozenLayer:
    """A one-layer LSTM or GRU as its weights are now: (N, 1, I) and its state to the same of it."""

    def __init__(self, layer: nn.LSTM | nn.GRU) -> None:
        self.is_lstm, self.hidden = isinstance(layer, nn.LSTM), layer.hidden_size
        weights = dict(layer.named_parameters())
        self.inputs, self.states = (
            self._panels(weights[f"weight_{of}_l0"], weights[f"bias_{of}_l0"])
            for of in ("ih", "hh")
        )
        gates = 4 if self.is_lstm else 3
        self.padded = self.inputs[1].shape[1] // gates

    def __call__(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """As torch's layer with `batch_first`."""
        N = len(x)
        x = self._rows(x[:, 0])
        if state is None:
            before = cell = x.new_zeros(len(x), self.padded)
        else:
            parts = state if self.is_lstm else (state, state)
            before, cell = (self._rows(part[0], self.padded) for part in parts)
        a = _gates(x, *self.inputs)
        u = _gates(before[:, : self.hidden], *self.states)
        h = torch.empty_like(before)
        if self.is_lstm:
            cell = cell.clone()  # what the state was stays
            lstm(a, u, cell.numpy(), h.numpy())
        else:
            gru(a, u, before.contiguous().numpy(), h.numpy())
        after = h[:N, : self.hidden]
        now = after[None]
        return after[:, None], (now, cell[None, :N, : self.hidden]) if self.is_lstm else now

    def _panels(self, weight: Tensor, bias: Tensor) -> tuple[Array, Array]:
        gates = (torch.split(part.detach(), self.hidden) for part in (weight, bias))
        return panels([list(zip(*gates, strict=True))])

    def _rows(self, x: Tensor, columns: int = 0) -> Tensor:
        """X (N, C), detached and padded to whole tiles and `columns`."""
        N, C = x.shape
        return pad(x.detach(), (0, max(columns - C, 0), 0, -N % ROWS))


def _gates(x: Tensor, weight: Array, bias: Array) -> Array:
    y = torch.empty(len(x), bias.shape[1]).numpy()
    multiply(x.contiguous().numpy(), weight[0], bias[0], y)
    return y
