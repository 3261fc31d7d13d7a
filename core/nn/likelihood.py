"""How likely words are, without holding the logits of all steps.

Part by part, forward and again backward: memory is one part's logits (N, V), or all of them where
they are few.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

from core.types import PAD

IGNORE_INDEX = -100  # no token has this id
PART = 2**20  # logits that are computed at a time, unless one step of all sentences has more
HELD = 2**23  # up to so many logits in all, their gradient is kept for the backward pass
ROOM = 2**21  # up to so many logits in all, they are kept and not computed anew
Measured = Callable[[Tensor, int], Tensor]  # of logits (N, V) and the step: (N,)
# Of log p (M, V) and the places (M,) of its rows among all N S steps: (M, V), a new tensor.
Values = Callable[[Tensor, Tensor], Tensor]
Scored = tuple[Tensor, Tensor, Tensor]  # q (N, S, F), v (N, S), e (V, F): s_w = <q, e_w> + v
Loss = Callable[[Tensor], Tensor]  # of each score, in their shape


class Table(NamedTuple):
    """A vocabulary head without bias: logits <h, e_w>."""

    weight: Tensor  # (V, F), of every word w the vector e_w
    bias: None = None

    @property
    def out_features(self) -> int:
        """V."""
        return len(self.weight)


def negative_log_likelihood(
    hidden: Tensor, head: nn.Linear | Table, tokens: Tensor, ignore_index: int = PAD
) -> Tensor:
    """-log p (N, S) in nats of each token under softmax(head(hidden)), hidden (N, S, E); 0 at
    padding, or at whatever token is to be ignored, which costs nothing: the others are taken
    together, max(N, PART / V) at a time.
    """
    places = (tokens != ignore_index).flatten().nonzero()[:, 0]
    seen = hidden.flatten(0, 1).index_select(0, places)
    words = tokens.flatten().index_select(0, places)
    size = max(len(tokens), PART // head.out_features, 1)
    own: Tensor | None = head.bias
    bias = head.weight.new_zeros(head.out_features) if own is None else own
    parts = (seen, words, head.weight, bias, size)
    found: Tensor = _TokenNll.apply(*parts)  # type: ignore[no-untyped-call]
    nothing = found.new_zeros(tokens.numel())
    return nothing.index_copy(0, places, found).view_as(tokens)


def log_likelihood(hidden: Tensor, head: nn.Linear | Table, tokens: Tensor) -> Tensor:
    """Log p of each drawn word (N, S) in nats, drawn padding included."""
    return -negative_log_likelihood(hidden, head, tokens, IGNORE_INDEX)


def entropy(hidden: Tensor, head: nn.Linear) -> Tensor:
    """Entropy (N, S) in nats of each step's softmax(head(hidden)), hidden (N, S, E)."""

    def of(logits: Tensor, step: int) -> Tensor:
        log_p = logits.log_softmax(-1)
        return -(log_p.exp() * log_p).sum(-1)

    return by_step(of, hidden, head)


def expectation(hidden: Tensor, head: nn.Linear, mask: Tensor | None, values: Values) -> Tensor:
    """The mean over sentences of the sum over visible steps of sum_w p_w v_w, with p the softmax of
    head(hidden), hidden (N, S, E), mask (N, S). A scalar.

    `values` v carry no gradient, or are a multiple of log p plus what carries none (an entropy, a
    divergence). The gradient at the logits is then p_w (v_w - sum_u p_u v_u) in both cases, since
    sum_w p_w d log p_w = 0. So it is taken in the same pass, one part of the visible steps at a
    time, and steps after the end cost nothing.
    """
    N, S, _ = hidden.shape
    visible = hidden.new_ones(N, S, dtype=torch.bool) if mask is None else mask
    places = visible.flatten().nonzero()[:, 0]
    seen = hidden.flatten(0, 1).index_select(0, places)
    total: Tensor = _Expectation.apply(seen, head.weight, head.bias, places, values)  # type: ignore[no-untyped-call]
    return total / N


def expected_loss(
    hidden: Tensor,
    head: nn.Linear,
    mask: Tensor | None,
    scores: Scored,
    loss: Loss,
    log_ratio: bool = False,
) -> tuple[Tensor, Tensor]:
    """The mean over sentences of the sum over visible steps of sum_w p_w loss(s_w), with p the
    softmax of head(hidden), hidden (N, S, E), mask (N, S), and s_w = <q, e_w> + v of `scores`: q
    (N, S, F), v (N, S), e (V, F); with `log_ratio` it is log softmax(<q, e>)_w - log p_w + v.
    Beside it the mean of s_w under p over visible steps. Only `scores` get a gradient, in the same
    pass, one part of the visible steps at a time.
    """
    N, S, _ = hidden.shape
    visible = hidden.new_ones(N, S, dtype=torch.bool) if mask is None else mask
    places = visible.flatten().nonzero()[:, 0]
    queries, values, table = scores
    seen = [each.flatten(0, 1).index_select(0, places) for each in (hidden, queries)]
    found = values.flatten().index_select(0, places), table, head, loss, log_ratio
    total, mean = _ExpectedLoss.apply(*seen, *found)  # type: ignore[no-untyped-call]
    return total / N, mean / len(places)


def by_step(measure: Measured, hidden: Tensor, head: nn.Linear) -> Tensor:
    """`measure` of the logits (N, V) of one step after another, which gives (N,): (N, S). Where
    they are many, they are computed anew for the backward pass.
    """
    if hidden[..., 0].numel() * head.out_features <= ROOM:
        found = [measure(logits, step) for step, logits in enumerate(head(hidden).unbind(1))]
        return torch.stack(found, dim=1)

    def one(h: Tensor, step: int) -> Tensor:
        return measure(head(h), step)

    steps = enumerate(hidden.unbind(1))
    found = [
        checkpoint(one, h, step, use_reentrant=False, preserve_rng_state=False) for step, h in steps
    ]
    return torch.stack(found, dim=1)


class _Expectation(torch.autograd.Function):
    """The sum over rows (M,) of sum_w p_w v_w, of hidden (M, E), with its gradient."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, places: Tensor,
        values: Values,
    ) -> Tensor:  # fmt: skip
        total, wanted = hidden.new_zeros(()), any(ctx.needs_input_grad)
        grad_hidden = torch.empty_like(hidden)
        grad_weight = weight.new_zeros(weight.shape[::-1])  # (E, V): its products are faster
        grad_bias = None if bias is None else torch.zeros_like(bias)
        size = max(1, PART // len(weight))
        for start in range(0, len(hidden), size):
            part = slice(start, start + size)
            log_p = nn.functional.linear(hidden[part], weight, bias).log_softmax(1)
            found = values(log_p, places[part])
            p = log_p.exp_()
            means = (p * found).sum(1, keepdim=True)
            total += means.sum()
            if wanted:
                grad_logits = found.sub_(means).mul_(p)
                grad_hidden[part] = grad_logits @ weight
                grad_weight.addmm_(hidden[part].T, grad_logits)
                if grad_bias is not None:
                    grad_bias += grad_logits.sum(0)
        ctx.save_for_backward(grad_hidden, grad_weight.T, grad_bias)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        found = (None if each is None else each * grad_output for each in ctx.saved_tensors)
        return *found, None, None


class _ExpectedLoss(torch.autograd.Function):
    """The sums over rows (M,) of sum_w p_w loss(s_w) and of sum_w p_w s_w, with the gradient of the
    first at queries (M, F), values (M,) and table (V, F).
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, queries: Tensor, values: Tensor, table: Tensor,
        head: nn.Linear, loss: Loss, log_ratio: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        total, mean = hidden.new_zeros(()), hidden.new_zeros(())
        grad_queries, grad_values = torch.empty_like(queries), torch.empty_like(values)
        grad_table = table.new_zeros(table.shape[::-1])  # (F, V): its products are faster
        size = max(1, PART // len(table))
        for start in range(0, len(hidden), size):
            part = slice(start, start + size)
            logits = linear(hidden[part], head.weight, head.bias)
            p, value = logits.softmax(1), values[part, None]
            scores = torch.addmm(value, queries[part], table.T)
            if log_ratio:
                log_q = scores.log_softmax(1)
                scores = log_q + value - logits.log_softmax(1)
            mean += (p * scores).sum()
            with torch.enable_grad():
                losses = loss(scores.requires_grad_(True))
                (grad_logits,) = torch.autograd.grad(losses, scores, p)
            total += (p * losses.detach()).sum()
            grad_values[part] = grad_logits.sum(1)
            if log_ratio:
                grad_logits = grad_logits.addcmul_(log_q.exp_(), grad_values[part, None], value=-1)
            grad_queries[part] = grad_logits @ table
            grad_table.addmm_(queries[part].T, grad_logits)
        ctx.save_for_backward(grad_queries, grad_values, grad_table.T)
        ctx.mark_non_differentiable(mean)
        return total, mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(each * grad_output for each in ctx.saved_tensors), None, None, None


class _TokenNll(torch.autograd.Function):
    """-log softmax(h weight^T + bias) at the words (M,), of hidden (M, E), `size` rows at a time.

    What `_part` says of a part is held for the backward pass where that is little, else computed
    anew. What comes back at a row scales E numbers of it and not V.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, words: Tensor, weight: Tensor, bias: Tensor, size: int
    ) -> Tensor:
        ctx.parts = [slice(start, start + size) for start in range(0, len(words), size)]
        few = len(words) * len(weight) <= HELD and any(ctx.needs_input_grad)
        found, held = hidden.new_empty(len(words)), []
        for part in ctx.parts:
            found[part], *scaled_grad = _part(hidden[part], words[part], weight, bias)
            held += scaled_grad if few else []
        ctx.save_for_backward(hidden, words, weight, bias, *held)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        hidden, words, weight, bias, *held = ctx.saved_tensors
        grad_hidden, grad_bias = torch.empty_like(hidden), torch.zeros_like(bias)
        grad_weight = weight.new_zeros(weight.shape[::-1])  # (E, V): its products are faster
        for number, part in enumerate(ctx.parts):
            if held:
                scaled_grad, z = held[2 * number : 2 * number + 2]
            else:
                _, scaled_grad, z = _part(hidden[part], words[part], weight, bias)
            scale = grad_output[part] / z
            grad_hidden[part] = linear(scaled_grad, weight.T).mul_(scale[:, None])
            grad_weight.addmm_((hidden[part] * scale[:, None]).T, scaled_grad)
            grad_bias.addmv_(scaled_grad.T, scale)
        return grad_hidden, None, grad_weight.T, grad_bias, None


def _part(
    hidden: Tensor, words: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Of some rows: the nats (M,) of their words, Z times their gradient at the logits (M, V), and
    Z (M,), the sum of e^(l - m), l a row's logits and m the largest.
    """
    logits, at = linear(hidden, weight, bias), words[:, None]
    most, of_word = logits.amax(1), logits.gather(1, at)[:, 0]
    scaled_grad = logits.sub_(most[:, None]).exp_()
    z = scaled_grad.sum(1)
    scaled_grad.scatter_(1, at, ((of_word - most).exp_() - z)[:, None])
    return z.log() + most - of_word, scaled_grad, z
