"""LSTM and GRU layers that can be part of a stack.

`torch.nn.LSTM` and `torch.nn.GRU` are one operation for all steps, which `torch.func.vmap` does not
know; in a stack the same function is walked step by step (equations in `core.nn.recurrent_step`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from core.nn.stacked import stacked

Step = Callable[[Tensor, Tensor, "tuple[Tensor, ...]"], "tuple[Tensor, ...]"]


class LSTM(nn.LSTM):
    """`torch.nn.LSTM` with `batch_first`, same weights, same values."""

    def forward(self, x: Tensor, state: Any = None) -> Any:  # type: ignore[override]
        """Inputs (N, P, I) to outputs (N, P, H) and the states (h, c), (layers, N, H) each."""
        if not stacked():
            return super().forward(x, state)
        return _walk(self, x, state, 2, _lstm)


class GRU(nn.GRU):
    """`torch.nn.GRU` with `batch_first`, same weights, same values."""

    def forward(self, x: Tensor, state: Any = None) -> Any:  # type: ignore[override]
        """Inputs (N, P, I) to outputs (N, P, H) and the state h (layers, N, H)."""
        if not stacked():
            return super().forward(x, state)
        outputs, (h,) = _walk(self, x, None if state is None else (state,), 1, _gru)
        return outputs, h


def _walk(
    layers: nn.RNNBase, x: Tensor, state: tuple[Tensor, ...] | None, parts: int, step: Step
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """All layers, one above another; `parts` tensors are the state of each."""
    after = []
    for number in range(layers.num_layers):
        named = (f"{kind}_{of}_l{number}" for of in ("ih", "hh") for kind in ("weight", "bias"))
        w, b, w_state, b_state = (getattr(layers, name) for name in named)
        if state is None:
            now: tuple[Tensor, ...] = (x.new_zeros(len(x), layers.hidden_size),) * parts
        else:
            now = tuple(part[number] for part in state)
        outputs = []
        for of_input in linear(x, w, b).unbind(1):  # of all steps in one product
            now = step(of_input, linear(now[0], w_state, b_state), now)
            outputs.append(now[0])
        x = torch.stack(outputs, dim=1)
        after.append(now)
    return x, tuple(torch.stack(part) for part in zip(*after, strict=True))


def _lstm(a: Tensor, u: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    i, f, g, o = (a + u).chunk(4, dim=-1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru(a: Tensor, u: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    (r, z, n), (r_state, z_state, n_state) = a.chunk(3, dim=-1), u.chunk(3, dim=-1)
    new = (n + (r + r_state).sigmoid() * n_state).tanh()
    return (new + (z + z_state).sigmoid() * (state[0] - new),)
