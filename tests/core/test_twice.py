"""Second derivatives in closed form are torch's own, and gradcheck's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from core.nn import twice
from core.nn.linear import Linear, linear, onednn_is_faster, product

N, H, S, D = 2, 3, 5, 4


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype).requires_grad_()


def plain_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1) @ v


def penalised(f: Callable[..., Tensor], x: Tensor, others: Sequence[Tensor]) -> list[Tensor]:
    """Gradients of a function of f's gradient at x, and of f itself, at x and all others."""
    torch.manual_seed(1)
    y = f(x, *others)
    weights = torch.randn_like(y)
    (g,) = torch.autograd.grad((y.square() * weights).sum(), x, create_graph=True)
    loss = (g.flatten(1).norm(dim=1) - 1).square().mean() + y.mean()
    found = torch.autograd.grad(loss, [x, *others], allow_unused=True)
    return [torch.zeros_like(x) if a is None else a for a in found]


def agree(ours: Callable[..., Tensor], plain: Callable[..., Tensor], *parts: Tensor) -> None:
    x, *others = parts
    assert torch.allclose(ours(*parts), plain(*parts), atol=1e-12)
    pairs = zip(penalised(ours, x, others), penalised(plain, x, others), strict=True)
    for a, b in pairs:
        assert torch.allclose(a, b.broadcast_to(a.shape), atol=1e-10)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("numbers", [1, 2**17])
def test_attention(masked: bool, numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twice, "NUMBERS", numbers)
    torch.manual_seed(0)
    q, k, v = random(N, H, 2, D), random(N, H, S, D), random(N, H, S, D)
    mask = None
    if masked:
        mask = torch.rand(N, 1, 1, S) > 0.4
        mask[..., 0] = True
    agree(
        lambda *x: twice.attention(*x, mask), lambda *x: plain_attention(*x, mask), q, k, v
    )  # fmt: skip
    self_attention = random(N, H, S, D)
    agree(
        lambda x: twice.attention(x, x * 2, x.sin(), mask),
        lambda x: plain_attention(x, x * 2, x.sin(), mask),
        self_attention,
    )


def test_gelu() -> None:
    torch.manual_seed(0)
    agree(twice.gelu, torch.nn.functional.gelu, random(3, 7))
    agree(twice.gelu, torch.nn.functional.gelu, random(7, 3).mT.detach().requires_grad_())


def test_layer_norm() -> None:
    torch.manual_seed(0)
    x, weight, bias = random(3, 4, 6), random(6), random(6)

    def plain(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.nn.functional.layer_norm(x, (6,), weight, bias, 1e-5)

    agree(lambda *p: twice.layer_norm(*p, 1e-5), plain, x, weight, bias)


@pytest.mark.skipif(not onednn_is_faster(), reason="products of this processor stay in MKL")
def test_products_differ_by_rounding_only() -> None:
    torch.manual_seed(0)
    x, weight, bias = (
        random(*shape, dtype=torch.float32) for shape in ((4, 70, 96), (80, 96), (80,))
    )
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


def test_no_weights_gradient_where_only_the_inputs_is_asked_for() -> None:
    layer, x = Linear(96, 80), random(70, 96, dtype=torch.float32)
    with twice.twice_differentiable():
        y = layer(x)
        (g,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    g.square().sum().backward()
    assert layer.weight.grad is not None
