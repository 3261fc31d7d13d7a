"""The likelihood of words, whose gradient is written out, against torch's cross entropy."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from core.nn import likelihood
from core.nn.likelihood import expectation, negative_log_likelihood
from core.types import PAD

N, S, E, V = 4, 7, 5, 13


def given() -> tuple[Tensor, torch.nn.Linear, Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(N, S, E, dtype=torch.float64, requires_grad=True)
    tokens = torch.randint(1, V, (N, S))
    tokens[0, 3:] = PAD
    return hidden, torch.nn.Linear(E, V, dtype=torch.float64), tokens


@pytest.mark.parametrize("part", [1, 5 * V, 10**6])
@pytest.mark.parametrize("held", [0, 10**6])
def test_it_equals_its_definition_whatever_is_held(
    part: int, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likelihood, "PART", part)
    monkeypatch.setattr(likelihood, "HELD", held)
    hidden, head, tokens = given()
    ours = negative_log_likelihood(hidden, head, tokens)
    plain = cross_entropy(head(hidden).transpose(1, 2), tokens, ignore_index=PAD, reduction="none")
    assert torch.allclose(ours, plain, atol=1e-12)
    wanted, weights = [hidden, head.weight, head.bias], torch.randn(N, S, dtype=torch.float64)
    theirs = torch.autograd.grad((weights * plain).sum(), wanted)
    for _ in range(2):  # a graph that is kept may be walked again
        found = torch.autograd.grad((weights * ours).sum(), wanted, retain_graph=True)
        assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(found, theirs, strict=True))


def test_a_share_of_the_gradients_may_be_asked_for() -> None:
    hidden, head, tokens = given()
    head.requires_grad_(False)
    negative_log_likelihood(hidden, head, tokens).sum().backward()
    assert hidden.grad is not None
    assert head.weight.grad is None


def test_a_head_may_have_no_bias() -> None:
    hidden, head, tokens = given()
    head.bias = None  # type: ignore[assignment]
    nats = negative_log_likelihood(hidden, head, tokens)
    log_p = head(hidden).log_softmax(-1).gather(2, tokens[..., None])[..., 0]
    assert torch.allclose(nats, torch.where(tokens == PAD, 0.0, -log_p), atol=1e-12)
    nats.sum().backward()
    assert head.weight.grad is not None


def test_padding_alone_is_worth_nothing() -> None:
    hidden, head, tokens = given()
    nats = negative_log_likelihood(hidden, head, torch.full_like(tokens, PAD))
    nats.sum().backward()
    assert not nats.any()
    assert hidden.grad is not None
    assert not hidden.grad.any()


@pytest.mark.parametrize("many", [True, False])
def test_it_holds_no_logits_where_all_would_be_many(
    many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = N * S - 4  # four are padding
    monkeypatch.setattr(likelihood, "HELD", words * V - many)
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, keep):
        negative_log_likelihood(*given())
    assert (sum(kept) < words * V) == many


def test_logits_of_any_size_stay_finite() -> None:
    hidden, head, tokens = given()
    nats = negative_log_likelihood(1e6 * hidden, head, tokens)
    nats.sum().backward()
    assert nats.isfinite().all()
    assert hidden.grad is not None
    assert hidden.grad.isfinite().all()


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("multiple", [0.0, -0.3])
def test_an_expectation_equals_its_definition_in_parts(
    multiple: float, masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likelihood, "PART", 5 * V)
    hidden, head, tokens = given()
    mask = tokens != PAD if masked else None
    v = torch.randn(N, S, V, dtype=torch.float64)

    def values(log_p: Tensor, places: Tensor) -> Tensor:
        return v.flatten(0, 1)[places] + multiple * log_p

    ours = expectation(hidden, head, mask, values)
    log_p = head(hidden).log_softmax(-1)
    steps = (log_p.exp() * (v + multiple * log_p)).sum(-1)
    plain = (steps if mask is None else steps * mask).sum(1).mean()
    assert torch.allclose(ours, plain, atol=1e-12)
    wanted = [hidden, head.weight, head.bias]
    theirs = torch.autograd.grad(3 * plain, wanted)
    found = torch.autograd.grad(3 * ours, wanted)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(found, theirs, strict=True))


def test_an_expectation_reads_no_step_after_the_end() -> None:
    hidden, head, tokens = given()
    seen: list[int] = []

    def values(log_p: Tensor, places: Tensor) -> Tensor:
        seen.extend(places.tolist())
        return torch.ones_like(log_p)

    nothing = expectation(hidden, head, torch.zeros(N, S, dtype=torch.bool), values)
    assert not nothing
    assert not seen
    ones = expectation(hidden, head, tokens != PAD, values)
    assert float(ones.detach()) == pytest.approx((N * S - 4) / N)
    assert seen == (tokens != PAD).flatten().nonzero()[:, 0].tolist()
