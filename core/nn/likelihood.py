"""How likely words are, without holding the logits of all steps.

Part by part, forward and again backward: memory is one part's logits (N, V).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vjp
from torch.nn.functional import cross_entropy, linear
from torch.utils.checkpoint import checkpoint

from core.nn.stacked import stacked
from core.text.vocabulary import PAD

NOTHING = -100  # no word has this id
ROOM = 2**20  # logits of each model of a stack that are held, where so many are all of them
Measured = Callable[..., Tensor]  # of logits (N, V), the step and what else is given: (N,)


def negative_log_likelihood(
    hidden: Tensor, head: nn.Linear, tokens: Tensor, ignored: int = PAD
) -> Tensor:
    """-log p of each word (N, S) in nats under softmax(head(hidden)), hidden (N, S, E); 0 at
    padding, or at whatever word is to be ignored, which costs nothing: the others are laid end to
    end and taken N at a time.
    """
    if stacked():  # which words there are is not known to all models alike

        def of(logits: Tensor, step: int, words: Tensor) -> Tensor:
            return cross_entropy(logits, words[:, step], ignore_index=ignored, reduction="none")

        return by_step(of, hidden, head, tokens)
    places = (tokens != ignored).flatten().nonzero()[:, 0]
    size = len(tokens) or 1
    seen = torch.split(hidden.flatten(0, 1).index_select(0, places), size)
    words = torch.split(tokens.flatten().index_select(0, places), size)

    def nats(logits: Tensor, part: int) -> Tensor:
        return cross_entropy(logits, words[part], reduction="none")

    found = torch.cat([_anew(nats, h, head, part) for part, h in enumerate(seen)])
    nothing = found.new_zeros(tokens.numel())
    return nothing.index_copy(0, places, found).view_as(tokens)


def log_likelihood(hidden: Tensor, head: nn.Linear, tokens: Tensor) -> Tensor:
    """Log p of each drawn word (N, S) in nats, drawn padding included."""
    return -negative_log_likelihood(hidden, head, tokens, NOTHING)


def entropy(hidden: Tensor, head: nn.Linear) -> Tensor:
    """Entropy (N, S) in nats of each step's softmax(head(hidden)), hidden (N, S, E)."""

    def of(logits: Tensor, step: int) -> Tensor:
        log_p = logits.log_softmax(-1)
        return -(log_p.exp() * log_p).sum(-1)

    return by_step(of, hidden, head)


def by_step(measure: Measured, hidden: Tensor, head: nn.Linear, *given: Tensor) -> Tensor:
    """`measure` of the logits (N, V) of one step after another, which gives (N,): (N, S). The
    logits are computed anew for the backward pass. Tensors that differ between the models of a
    stack are `given`, and handed on to `measure`.
    """
    steps = hidden.unbind(1)
    if not stacked():
        found = [_anew(measure, h, head, step, *given) for step, h in enumerate(steps)]
    elif hidden[..., 0].numel() * head.out_features <= ROOM:
        logits = linear(hidden, head.weight, head.bias).unbind(1)
        found = [measure(of_step, step, *given) for step, of_step in enumerate(logits)]
    else:
        found = [
            _Anew.apply(measure, step, h, head.weight, head.bias, *given)  # type: ignore[no-untyped-call]
            for step, h in enumerate(steps)
        ]
    return torch.stack(found, dim=1)


class _Anew(torch.autograd.Function):
    """`_anew` for the models of a stack, where torch's checkpoints do not go."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        measure: Measured, step: int, hidden: Tensor, weight: Tensor, bias: Tensor, *given: Tensor
    ) -> Tensor:
        return measure(linear(hidden, weight, bias), step, *given)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.measure, ctx.step, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, *given = ctx.saved_tensors

        def again(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            found: Tensor = ctx.measure(linear(h, weight, bias), ctx.step, *given)
            return found

        pull = vjp(again, hidden, weight, bias)[1]
        return (None, None, *pull(*slopes), *(None for _ in given))


def _anew(measure: Measured, hidden: Tensor, head: nn.Linear, step: int, *given: Tensor) -> Tensor:
    """`measure` of the logits of hidden (K, E), which are not kept for the backward pass."""

    def one(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return measure(linear(h, weight, bias), step, *given)

    found: Tensor = checkpoint(
        one, hidden, head.weight, head.bias, use_reentrant=False, preserve_rng_state=False
    )
    return found
