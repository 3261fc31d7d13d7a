"""How likely words are, without holding the logits of all steps.

Part by part, forward and again backward: memory is one part's logits (N, V).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear
from torch.utils.checkpoint import checkpoint

from core.nn.stacked import stacked
from core.text.vocabulary import PAD

NOTHING = -100  # no word has this id


def negative_log_likelihood(
    hidden: Tensor, head: nn.Linear, tokens: Tensor, ignored: int = PAD
) -> Tensor:
    """-log p of each word (N, S) in nats under softmax(head(hidden)), hidden (N, S, E); 0 at
    padding, or at whatever word is to be ignored, which costs nothing: the others are laid end to
    end and taken N at a time.
    """
    if stacked():  # which words there are is not known to all models alike
        logits = linear(hidden, head.weight, head.bias).flatten(0, 1)
        every = cross_entropy(logits, tokens.flatten(), ignore_index=ignored, reduction="none")
        return every.view_as(tokens)
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


def by_step(measure: Callable[[Tensor, int], Tensor], hidden: Tensor, head: nn.Linear) -> Tensor:
    """`measure` of the logits (N, V) of one step after another, which gives (N,): (N, S). The
    logits are computed anew for the backward pass, but in a stack, which holds those of all steps.
    """
    if stacked():
        logits = linear(hidden, head.weight, head.bias).unbind(1)
        return torch.stack([measure(of_step, t) for t, of_step in enumerate(logits)], dim=1)
    steps = [_anew(measure, h, head, step) for step, h in enumerate(hidden.unbind(1))]
    return torch.stack(steps, dim=1)


def _anew(
    measure: Callable[[Tensor, int], Tensor], hidden: Tensor, head: nn.Linear, step: int
) -> Tensor:
    """`measure` of the logits of hidden (K, E), which are not kept for the backward pass."""

    def one(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return measure(linear(h, weight, bias), step)

    found: Tensor = checkpoint(
        one, hidden, head.weight, head.bias, use_reentrant=False, preserve_rng_state=False
    )
    return found
