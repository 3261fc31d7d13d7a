"""Our attention kernels are the plain definition, in value and in both derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.nn import seen as sights
from core.nn.attention import Attention
from core.nn.fused_attention import LONGEST, WIDEST, attention, pays
from core.nn.seen import EVERYTHING, Seen
from core.nn.twice import twice_differentiable
from variants.generator.transformer import _last_word_mask

CPU = torch.device("cpu")
VALUES, GRADIENTS = 1e-5, 1e-4


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def plain(q: Tensor, kv: Tensor, heads: int, mask: Tensor | None) -> Tensor:
    N, P, E = q.shape
    q, k, v = (x.view(N, -1, heads, E // heads).transpose(1, 2) for x in (q, *kv.chunk(2, -1)))
    scores = q @ k.mT / math.sqrt(E // heads)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return (scores.softmax(-1) @ v).transpose(1, 2).reshape(N, P, E)


def ended(*lengths: int) -> Seen:
    return sights.words(torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])


def near(found: Tensor, expected: Tensor, tolerance: float) -> None:
    scale = max(float(expected.detach().abs().max()), 1.0)
    assert float((found.detach().double() - expected.detach()).abs().max()) <= tolerance * scale


def random(N: int, P: int, K: int, E: int, factor: float = 1.0) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    q, kv = factor * torch.randn(N, P, E), factor * torch.randn(N, K, 2 * E)
    return q.requires_grad_(), kv.requires_grad_()


def exact(*tensors: Tensor) -> list[Tensor]:
    return [x.detach().double().requires_grad_() for x in tensors]


def first_derivatives(f: Callable[..., Tensor], q: Tensor, kv: Tensor) -> list[Tensor]:
    torch.manual_seed(1)
    y = f(q, kv)
    g = torch.randn(y.shape).to(y.dtype)
    return [y, *torch.autograd.grad((y.square() * g).sum(), (q, kv))]


def second_derivatives(f: Callable[..., Tensor], q: Tensor, kv: Tensor) -> list[Tensor]:
    torch.manual_seed(1)
    y = f(q, kv)
    g = torch.randn(y.shape).to(y.dtype)
    of_q, of_kv = torch.autograd.grad((y.square() * g).sum(), (q, kv), create_graph=True)
    return list(torch.autograd.grad(of_q.square().sum() + (of_kv**3).sum() + y.sum(), (q, kv)))


def check(N: int, P: int, K: int, heads: int, d: int, seen: Seen, factor: float = 1.0) -> None:
    q, kv = random(N, P, K, heads * d, factor)
    assert pays(q, kv, heads, seen, False)

    def ours(q: Tensor, kv: Tensor) -> Tensor:
        return attention(q, kv, heads, seen)

    def theirs(q: Tensor, kv: Tensor) -> Tensor:
        return plain(q, kv, heads, seen.mask)

    found, expected = first_derivatives(ours, q, kv), first_derivatives(theirs, *exact(q, kv))
    for a, b, tolerance in zip(found, expected, (VALUES, GRADIENTS, GRADIENTS), strict=True):
        near(a, b, tolerance)
    with torch.no_grad():
        assert torch.equal(ours(q, kv), found[0])
    if seen.own is None:
        again = zip(
            second_derivatives(ours, q, kv), second_derivatives(theirs, *exact(q, kv)), strict=True
        )
        for a, b in again:
            near(a, b, GRADIENTS)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.integers(1, 3),
    st.sampled_from([8, 16, 24]), st.sampled_from([0.0, 1.0, 2.0]),
)  # fmt: skip
def test_everything_seen(N: int, P: int, K: int, heads: int, d: int, factor: float) -> None:
    check(N, P, K, heads, d, EVERYTHING, factor)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 36), min_size=1, max_size=5), st.integers(1, 20))
def test_nothing_seen_behind_the_end(lengths: list[int], P: int) -> None:
    check(len(lengths), P, max(lengths), 2, 8, ended(*lengths))


@pytest.mark.parametrize("S", [1, 2, 15, 16, 17, 40])
def test_nothing_seen_ahead(S: int) -> None:
    check(2, S, S, 2, 8, sights.causal(S, CPU))
    check(2, 2 * S - 1, 2 * S - 1, 2, 8, sights.two_streams(S, CPU))


def test_only_some_ask() -> None:
    S = 21
    check(2, S, 2 * S - 1, 2, 8, sights.two_streams(S, CPU).rows(slice(-S, None)))
    check(3, 1, 9, 2, 16, ended(9, 4, 1).rows(slice(0, 1)))


def test_every_field_says_what_the_mask_does() -> None:
    for seen in (sights.causal(9, CPU), sights.two_streams(9, CPU)):
        assert seen.mask is not None
        assert seen.upto is not None
        says = torch.arange(seen.mask.shape[1]) < torch.from_numpy(seen.upto)[:, None]
        if seen.own is not None:
            for row, key in enumerate(seen.own):
                if key >= 0:
                    says[row, key] = True
        assert torch.equal(says, seen.mask)
    # A rollout's masks are the same again, step by step.
    mask = sights.two_streams(9, CPU).mask
    assert mask is not None
    for t in range(1, 9):
        rows = mask[[t - 1, 8 + t]][:, [*range(t), 8 + t]]
        assert torch.equal(rows, _last_word_mask(t, CPU))


def test_a_mask_with_holes_is_left_to_torch() -> None:
    seen = sights.words(torch.tensor([[True, False, True]]))
    q, kv = random(1, 3, 3, 8)
    assert not pays(q, kv, 1, seen, False)


@pytest.mark.parametrize("change", ["float64", "wide", "long", "odd", "threads", "own"])
def test_what_does_not_pay_is_left_to_torch(change: str) -> None:
    shape = {"wide": (1, 3, 3, WIDEST + 8), "long": (1, LONGEST + 1, 3, 8), "odd": (1, 3, 3, 4)}
    q, kv = random(*shape.get(change, (1, 3, 3, 8)))
    seen = sights.two_streams(2, CPU) if change == "own" else EVERYTHING
    if change == "float64":
        q, kv = exact(q, kv)
    if change == "threads":
        torch.set_num_threads(2)
    assert not pays(q, kv, 1, seen, change == "own")


def test_a_number_that_is_none_stays_none() -> None:
    q, kv = random(2, 3, 5, 8)
    with torch.no_grad():
        kv[0, 2, 1] = math.nan
        y = attention(q, kv, 1, EVERYTHING)
    assert bool(y[0].isnan().all())
    assert not bool(y[1].isnan().any())


def test_the_module_is_the_same_with_and_without() -> None:
    torch.manual_seed(0)
    ours = Attention(32, 2)
    exactly = Attention(32, 2).double()
    exactly.load_state_dict(ours.state_dict())
    x = torch.randn(3, 11, 32)
    for seen in (EVERYTHING, ended(11, 4, 7), sights.causal(11, CPU)):
        for twice in (False, True):
            results = []
            for module, rows in ((ours, x), (exactly, x.double())):
                rows = rows.requires_grad_()
                if twice:
                    with twice_differentiable():
                        y = module.read(rows, module.key_value(rows), seen)
                        (g,) = torch.autograd.grad(y.square().sum(), rows, create_graph=True)
                    loss = g.square().sum()
                else:
                    loss = module.read(rows, module.key_value(rows), seen).square().sum()
                results.append([loss, *torch.autograd.grad(loss, list(module.parameters()))])
            for a, b in zip(*results, strict=True):
                near(a, b, GRADIENTS)
