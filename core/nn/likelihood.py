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

NOTHING = -100  # no word has this id
PART = 2**20  # logits at a time, where a step of all sentences has fewer
HELD = 2**23  # logits whose slopes are held for the backward pass, where so many are all of them
ROOM = 2**21  # logits that are held with what comes of them, where these are all
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
    hidden: Tensor, head: nn.Linear | Table, tokens: Tensor, ignored: int = PAD
) -> Tensor:
    """-log p of each word (N, S) in nats under softmax(head(hidden)), hidden (N, S, E); 0 at
    padding, or at whatever word is to be ignored, which costs nothing: the others are laid end to
    end and taken N at a time.
    """
    places = (tokens != ignored).flatten().nonzero()[:, 0]
    seen = hidden.flatten(0, 1).index_select(0, places)
    words = tokens.flatten().index_select(0, places)
    size = max(len(tokens), PART // head.out_features, 1)
    given: Tensor | None = head.bias
    bias = head.weight.new_zeros(head.out_features) if given is None else given
    parts = (seen, words, head.weight, bias, size)
    found: Tensor = _TokenNll.apply(*parts)  # type: ignore[no-untyped-call]
    nothing = found.new_zeros(tokens.numel())
    return nothing.index_copy(0, places, found).view_as(tokens)


def log_likelihood(hidden: Tensor, head: nn.Linear | Table, tokens: Tensor) -> Tensor:
    """Log p of each drawn word (N, S) in nats, drawn padding included."""
    return -negative_log_likelihood(hidden, head, tokens, NOTHING)


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
        of_hidden = torch.empty_like(hidden)
        of_weight = weight.new_zeros(weight.shape[::-1])  # (E, V): its products are faster
        of_bias = None if bias is None else torch.zeros_like(bias)
        size = max(1, PART // len(weight))
        for start in range(0, len(hidden), size):
            part = slice(start, start + size)
            log_p = nn.functional.linear(hidden[part], weight, bias).log_softmax(1)
            found = values(log_p, places[part])
            p = log_p.exp_()
            means = (p * found).sum(1, keepdim=True)
            total += means.sum()
            if wanted:
                slopes = found.sub_(means).mul_(p)
                of_hidden[part] = slopes @ weight
                of_weight.addmm_(hidden[part].T, slopes)
                if of_bias is not None:
                    of_bias += slopes.sum(0)
        ctx.save_for_backward(of_hidden, of_weight.T, of_bias)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        found = (None if each is None else each * given for each in ctx.saved_tensors)
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
        of_queries, of_values = torch.empty_like(queries), torch.empty_like(values)
        of_table = table.new_zeros(table.shape[::-1])  # (F, V): its products are faster
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
                (slopes,) = torch.autograd.grad(losses, scores, p)
            total += (p * losses.detach()).sum()
            of_values[part] = slopes.sum(1)
            if log_ratio:
                slopes = slopes.addcmul_(log_q.exp_(), of_values[part, None], value=-1)
            of_queries[part] = slopes @ table
            of_table.addmm_(queries[part].T, slopes)
        ctx.save_for_backward(of_queries, of_values, of_table.T)
        ctx.mark_non_differentiable(mean)
        return total, mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(each * given for each in ctx.saved_tensors), None, None, None


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
            found[part], *slopes = _part(hidden[part], words[part], weight, bias)
            held += slopes if few else []
        ctx.save_for_backward(hidden, words, weight, bias, *held)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        hidden, words, weight, bias, *held = ctx.saved_tensors
        of_hidden, of_bias = torch.empty_like(hidden), torch.zeros_like(bias)
        of_weight = weight.new_zeros(weight.shape[::-1])  # (E, V): its products are faster
        for number, part in enumerate(ctx.parts):
            if held:
                slopes, z = held[2 * number : 2 * number + 2]
            else:
                _, slopes, z = _part(hidden[part], words[part], weight, bias)
            scale = given[part] / z
            of_hidden[part] = linear(slopes, weight.T).mul_(scale[:, None])
            of_weight.addmm_((hidden[part] * scale[:, None]).T, slopes)
            of_bias.addmv_(slopes.T, scale)
        return of_hidden, None, of_weight.T, of_bias, None


def _part(
    hidden: Tensor, words: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Of some rows: the nats (M,) of their words, Z times their gradient at the logits (M, V), and
    Z (M,), the sum of e^(l - m), l a row's logits and m the largest.
    """
    logits, at = linear(hidden, weight, bias), words[:, None]
    most, of_word = logits.amax(1), logits.gather(1, at)[:, 0]
    slopes = logits.sub_(most[:, None]).exp_()
    z = slopes.sum(1)
    slopes.scatter_(1, at, ((of_word - most).exp_() - z)[:, None])
    return z.log() + most - of_word, slopes, z
