"""Products of oneDNN are torch's own, in value and in both derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from core.nn.linear import linear, onednn_is_faster, product


def penalised(f: Callable[..., Tensor], x: Tensor, others: Sequence[Tensor]) -> list[Tensor]:
    """Gradients of a function of f's gradient at x, and of f itself, at x and all others."""
    torch.manual_seed(1)
    y = f(x, *others)
    weights = torch.randn_like(y)
    (g,) = torch.autograd.grad((y.square() * weights).sum(), x, create_graph=True)
    loss = (g.flatten(1).norm(dim=1) - 1).square().mean() + y.mean()
    return list(torch.autograd.grad(loss, [x, *others]))


@pytest.mark.skipif(not onednn_is_faster(), reason="products of this processor stay in MKL")
def test_products_differ_by_rounding_only() -> None:
    torch.manual_seed(0)
    x, weight, bias = (torch.randn(shape).requires_grad_() for shape in ((4, 70, 96), (80, 96), 80))
    pairs = zip(
        penalised(linear, x, [weight, bias]),
        penalised(torch.nn.functional.linear, x, [weight, bias]),
        strict=True,
    )
    for a, b in pairs:
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))
    wide = torch.randn(300, 128)
    for w in (torch.randn(64, 128), torch.randn(128, 64).T, torch.randn(64, 1).expand(64, 128)):
        assert torch.allclose(product(wide, w), wide @ w.T, atol=1e-4)
        assert torch.allclose(
            product(wide.T, w[:, :1].expand(64, 300)),
            wide.T @ w[:, :1].expand(64, 300).T,
            atol=1e-3,
        )
