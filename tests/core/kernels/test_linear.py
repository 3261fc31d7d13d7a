"""The linear layers of a CPU are torch's own, in value and in both derivatives."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from core.kernels import cpu
from core.kernels.cpu import CPU, onednn_is_faster
from core.kernels.torch import TORCH, Kernels


def penalised(kernels: Kernels, x: Tensor, others: Sequence[Tensor]) -> list[Tensor]:
    """Gradients of a function of a layer's gradient at x, and of its output, at x and weights."""
    torch.manual_seed(1)
    y = kernels.linear(x, *others)
    weights = torch.randn_like(y)
    (g,) = torch.autograd.grad((y.square() * weights).sum(), x, create_graph=True)
    loss = (g.flatten(1).norm(dim=1) - 1).square().mean() + y.mean()
    return list(torch.autograd.grad(loss, [x, *others]))


@pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="torch was built without oneDNN"
)
def test_products_differ_by_rounding_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "onednn_is_faster", lambda: True)
    torch.manual_seed(0)
    x, weight, bias = (torch.randn(shape).requires_grad_() for shape in ((4, 70, 96), (80, 96), 80))
    pairs = zip(penalised(CPU, x, [weight, bias]), penalised(TORCH, x, [weight, bias]), strict=True)
    for a, b in pairs:
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))
    wide = torch.randn(300, 128)
    for w in (torch.randn(64, 128), torch.randn(128, 64).T, torch.randn(64, 1).expand(64, 128)):
        assert torch.allclose(CPU.linear(wide, w), wide @ w.T, atol=1e-4)
        columns = w[:, :1].expand(64, 300)
        assert torch.allclose(CPU.linear(wide.T, columns), wide.T @ columns.T, atol=1e-3)


def test_other_types_and_small_products_are_torchs() -> None:
    assert isinstance(onednn_is_faster(), bool)
    x, weight = torch.randn(70, 96, dtype=torch.float64), torch.randn(80, 96, dtype=torch.float64)
    assert torch.equal(CPU.linear(x, weight), TORCH.linear(x, weight))
    assert torch.equal(CPU.linear(x[:2].float(), weight.float()), x[:2].float() @ weight.float().T)
