"""Attention, GELU and layer normalisation that are differentiated twice, in closed form.

A gradient penalty takes the gradient of D at its input and then the gradient of that with respect
to D's weights. torch's own second derivatives are chains of many small operations, which here cost
more than the matrix products between them; these are the same derivatives written out.

Notation: y = f(x), g the gradient at y, so that x gets f'(x)^T g; a is the gradient that comes
back at *that*, and g and x get theirs from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.attention import SDPBackend, sdpa_kernel

from core.nn.stacked import stacked

NUMBERS = 2**17  # worked on at a time on a CPU: they stay in a core's cache
_twice: ContextVar[bool] = ContextVar("twice", default=False)


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """What is computed inside can be differentiated twice: first by D's input, and by that alone
    (no gradient of a weight is computed then), afterwards by everything.

    Fused attention and cuDNN's recurrent layers have no second derivative and are left.
    """
    token = _twice.set(True)
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        _twice.reset(token)


def differentiated_twice() -> bool:
    """Whether what is computed now will be differentiated twice, by what is written here."""
    return _twice.get() and not stacked()


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(q k^T / sqrt(d)) v: q (N, H, P, d), k and v (N, H, K, d) to (N, H, P, d); mask bool,
    True where a key may be seen, broadcast to (N, H, P, K).
    """
    N, H, P, d = q.shape
    bias = None
    if mask is not None:
        bias = q.new_zeros(()).masked_fill(~mask, -math.inf).expand(N, H, P, k.shape[2])
        bias = bias.reshape(N * H, P, -1)
    rows = (x.reshape(N * H, -1, d) for x in (q / math.sqrt(d), k, v))
    result: Tensor = _Attention.apply(*rows, bias)  # type: ignore[no-untyped-call]
    return result.view(N, H, P, d)


class _Attention(torch.autograd.Function):
    """P = softmax(q k^T + bias), y = P v, for q (B, P, d), k and v (B, K, d)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        weights = q.new_empty(len(q), q.shape[1], k.shape[1])
        y = torch.empty_like(q)
        for part in _parts(weights):
            scores = torch.bmm(q[part], k[part].mT)
            if bias is not None:
                scores += bias[part]
            torch.softmax(scores, -1, out=weights[part])
            torch.bmm(weights[part], v[part], out=y[part])
        ctx.save_for_backward(q, k, v, weights)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights = ctx.saved_tensors
        return *_AttentionGradient.apply(g, q, k, v, weights), None  # type: ignore[no-untyped-call]


class _AttentionGradient(torch.autograd.Function):
    """With R = g v^T and D the row sums of P R: S = P (R - D) is the gradient at the scores;
    q, k, v get S k, S^T q, P^T g.
    """

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, q: Tensor, k: Tensor, v: Tensor, weights: Tensor
    ) -> tuple[Tensor, ...]:
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        for part in _parts(weights):
            p = weights[part]
            r = torch.bmm(g[part], v[part].mT)
            s = _softmax_gradient(p, r)
            torch.bmm(s, k[part], out=dq[part])
            torch.bmm(s.mT, q[part], out=dk[part])
            torch.bmm(p.mT, g[part], out=dv[part])
        ctx.save_for_backward(g, q, k, v, weights)
        return dq, dk, dv

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, aq: Tensor, ak: Tensor, av: Tensor) -> tuple[Tensor | None, ...]:
        """L = <S, C> + <P, g av^T> with C = aq k^T + q ak^T, differentiated by g, q, k, v."""
        g, q, k, v, weights = ctx.saved_tensors
        results = tuple(torch.empty_like(x) for x in (g, q, k, v))
        for part in _parts(weights):
            rows = (x[part] for x in (g, q, k, v, weights, aq, ak, av))
            for whole, of_part in zip(results, _second_derivatives(*rows), strict=True):
                whole[part] = of_part
        return *results, None


def _second_derivatives(
    g: Tensor, q: Tensor, k: Tensor, v: Tensor, p: Tensor, aq: Tensor, ak: Tensor, av: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r = torch.bmm(g, v.mT)
    s = _softmax_gradient(p, r)
    c = torch.bmm(torch.cat([aq, q], -1), torch.cat([k, ak], -1).mT)
    centred = c - (p * c).sum(-1, keepdim=True)
    of_r = p * centred  # the gradient at r
    of_p = torch.baddbmm(r.mul_(centred), g, av.mT)  # at P, but for what the next line adds
    # <S, C> = sum P R C - sum_i D_i (sum_j P C)_ij: the second factor moves with P through D.
    row_sums = (g * torch.bmm(p, v)).sum(-1, keepdim=True)
    of_p.addcmul_(c, row_sums, value=-1)
    t = _softmax_gradient(p, of_p)
    of_g = torch.baddbmm(torch.bmm(p, av), of_r, v)
    of_q = torch.baddbmm(torch.bmm(s, ak), t, k)
    of_k = torch.baddbmm(torch.bmm(s.mT, aq), t.mT, q)
    of_v = torch.bmm(of_r.mT, g)
    return of_g, of_q, of_k, of_v


def _softmax_gradient(p: Tensor, r: Tensor) -> Tensor:
    result: Tensor = torch.ops.aten._softmax_backward_data(r, p, -1, p.dtype)
    return result


def _parts(weights: Tensor) -> list[slice]:
    """Slices of the first axis of (B, P, K) that a core's cache has room for."""
    size = max(1, NUMBERS // (weights.shape[1] * weights.shape[2]))
    if weights.device.type != "cpu":
        size = len(weights)
    return [slice(start, start + size) for start in range(0, len(weights), size)]


def gelu(x: Tensor) -> Tensor:
    """X Phi(x), Phi the normal distribution function (Hendrycks & Gimpel 2016)."""
    result: Tensor = _Gelu.apply(x)  # type: ignore[no-untyped-call]
    return result


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return nn.functional.gelu(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        result: Tensor = _GeluGradient.apply(g, *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        return result


class _GeluGradient(torch.autograd.Function):
    """g f'(x); f''(x) = phi(x) (2 - x^2), phi the normal density."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(g, x)
        return torch.ops.aten.gelu_backward(g, x)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, a: Tensor) -> tuple[Tensor, Tensor]:
        a, (g, x) = a.contiguous(), (saved.contiguous() for saved in ctx.saved_tensors)
        of_x = torch.empty_like(x)
        flat = zip(*(_pieces(tensor) for tensor in (a, g, x, of_x)), strict=True)
        for a_part, g_part, x_part, out in flat:
            square = x_part.square()
            torch.exp(square.mul(-0.5), out=out)
            out.mul_(square.sub_(2.0)).mul_(g_part).mul_(a_part).mul_(-1 / math.sqrt(2 * math.pi))
        return torch.ops.aten.gelu_backward(a, x), of_x


def _pieces(x: Tensor) -> tuple[Tensor, ...]:
    """A contiguous tensor as flat pieces that a core's cache has room for."""
    flat = x.view(-1)
    return torch.split(flat, NUMBERS) if x.device.type == "cpu" else (flat,)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps) weight + bias over the last axis (Ba et al. 2016)."""
    result: Tensor = _LayerNorm.apply(x, weight, bias, eps)  # type: ignore[no-untyped-call]
    return result


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        y, mean, scale = torch.native_layer_norm(x, (x.shape[-1],), weight, bias, eps)
        ctx.save_for_backward(x, weight, bias, mean, scale)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # the first of two: only x's is asked for
            return _LayerNormGradient.apply(g, x, weight, mean, scale), None, None, None  # type: ignore[no-untyped-call]
        masks = [True, True, True]
        gradients = torch.ops.aten.native_layer_norm_backward(
            g, x, (x.shape[-1],), mean, scale, weight, bias, masks
        )
        return *gradients, None


class _LayerNormGradient(torch.autograd.Function):
    """With n the normalised x, r = 1 / sqrt(variance + eps) and u = g weight:
    r (u - mean(u) - n mean(u n)).
    """

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, weight: Tensor, mean: Tensor, scale: Tensor
    ) -> Tensor:
        ctx.save_for_backward(g, x, weight, mean, scale)
        return torch.ops.aten.native_layer_norm_backward(  # type: ignore[no-any-return]
            g, x, (x.shape[-1],), mean, scale, weight, None, [True, False, False]
        )[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, a: Tensor) -> tuple[Tensor | None, ...]:
        """The map from u is symmetric, so u gets P a; x gets the rest through n and r."""
        g, x, weight, mean, scale = ctx.saved_tensors
        n, u = (x - mean) * scale, g * weight
        un, an = (u * n).mean(-1, keepdim=True), (a * n).mean(-1, keepdim=True)
        ua = (u * a).mean(-1, keepdim=True)
        u_mean, a_mean = u.mean(-1, keepdim=True), a.mean(-1, keepdim=True)
        of_u = scale * (a - a_mean - n * an)
        of_x = -scale.square() * (
            (a - a_mean) * un + (u - u_mean) * an + n * (ua - u_mean * a_mean - 3 * un * an)
        )
        of_weight = (of_u * g).flatten(0, -2).sum(0)
        return of_u * weight, of_x, of_weight, None, None
