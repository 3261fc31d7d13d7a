"""Linear layers through the faster of the two exact products that torch carries.

torch hands float32 products to MKL, which on x86 processors of other makers than Intel leaves half
of each AVX-512 register unused; oneDNN uses it whole (2.2 times as fast where it was measured,
`benchmarks/README.md`). Which one is taken depends on processor, type and shape alone, so a seed
still reproduces; the two round differently, as any two libraries do.

With y = x w^T: dx = g w, dw = g^T x. Both are such products again, so this differentiates twice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Affine = tuple[Tensor, Tensor]  # weight (C, K), bias (C,)
# Below, calling oneDNN costs more than it saves.
ROWS = 64
WORK = 2**19  # multiplications
ENOUGH_WORK = 2**22  # with fewer rows


class Linear(nn.Linear):
    """`torch.nn.Linear`, same weights, same values."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """X (..., K), weight (N, K), bias (N,) to x weight^T + bias, (..., N)."""
    rows = x.numel() // x.shape[-1]
    if not _pays(x, rows, weight):
        return nn.functional.linear(x, weight, bias)
    flat = x.reshape(rows, -1)
    if torch.is_grad_enabled():
        y: Tensor = _Product.apply(flat, weight, bias)  # type: ignore[no-untyped-call]
    else:
        y = _onednn(flat, weight, bias)
    return y.view(*x.shape[:-1], weight.shape[0])


def frozen(layer: nn.Linear) -> Callable[[Tensor], Tensor]:
    """A layer's function (N, E) to (N, V) without gradient as its weights are now, for many calls:
    where it pays, they are laid out for it once. A call may write over what the one before gave.
    """
    weight = layer.weight.detach()
    given: Tensor | None = layer.bias
    bias = weight.new_zeros(len(weight)) if given is None else given.detach()
    if weight.device.type == "cpu" and weight.dtype == torch.float32:
        from core.nn import panels  # brings a compiler: only where it is used

        return panels.frozen(weight, bias)
    return lambda x: nn.functional.linear(x, weight, bias)


def gelu_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """GELU of `linear`, without gradient; where oneDNN is faster, in one kernel."""
    if x.dtype == torch.float32 and x.device.type == "cpu" and onednn_is_faster():
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "gelu", [], "none")
        return y
    return nn.functional.gelu(linear(x, weight, bias))


def product(x: Tensor, w: Tensor) -> Tensor:
    """X (M, K), w (N, K) to x w^T, (M, N)."""
    if not _pays(x, x.shape[0], w):
        return x @ w.T
    if not torch.is_grad_enabled():
        return _onednn(x, w, None)
    result: Tensor = _Product.apply(x, w, None)  # type: ignore[no-untyped-call]
    return result


def _pays(x: Tensor, rows: int, weight: Tensor) -> bool:
    work = rows * weight.numel()
    return (
        ((rows >= ROWS and work >= WORK) or work >= ENOUGH_WORK)
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and onednn_is_faster()
    )


@cache
def onednn_is_faster() -> bool:
    """Whether float32 products of this processor are faster in oneDNN than in MKL."""
    wide = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    if not wide or not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    processor = Path("/proc/cpuinfo")
    return processor.exists() and "GenuineIntel" not in processor.read_text()[:2000]


class _Product(torch.autograd.Function):
    """x w^T + bias, differentiable any number of times."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, w)
        return _onednn(x, w, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        of_x, of_w, of_bias = ctx.needs_input_grad
        return (
            product(gradient, w.T) if of_x else None,
            product(gradient.T, x.T) if of_w else None,
            gradient.sum(0) if of_bias else None,
        )


def _onednn(x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    """The left operand is copied unless contiguous; the right one is read either way round."""
    if bias is None and not x.is_contiguous() and x.shape[0] > w.shape[0]:
        return _onednn(w, x, None).T
    if not (w.is_contiguous() or w.T.is_contiguous()):
        w = w.contiguous()
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, w, bias, "none", [], "")
    return result
