"""The likelihood of words and its gradient, beside torch's cross entropy.

The vocabulary head, 64 sentences of 24 words, E 64; 98 words are the easy grammar's, 4,600 the
captions' and 70,000 a news corpus'. Plain is the cross entropy of all logits (N, S, V), held.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.measure import show, times
from core.nn.likelihood import negative_log_likelihood

N, S, E = 64, 24, 64
VOCABULARIES = 98, 4_600, 70_000


def likelihood(repeats: int) -> None:
    """`likelihood_V` of each vocabulary."""
    for V in VOCABULARIES:
        hidden, head = torch.randn(N, S, E, requires_grad=True), nn.Linear(E, V)
        tokens = torch.randint(1, V, (N, S))
        fast, plain = (
            times(partial(step, hidden, head, tokens), repeats) for step in (ours, theirs)
        )
        show(f"likelihood_{V}", fast, plain, "seconds of -log p and its gradients")


def ours(hidden: Tensor, head: nn.Linear, tokens: Tensor) -> None:
    """As the harness has it."""
    negative_log_likelihood(hidden, head, tokens).mean().backward()


def theirs(hidden: Tensor, head: nn.Linear, tokens: Tensor) -> None:
    """As torch has it."""
    cross_entropy(head(hidden).flatten(0, 1), tokens.flatten()).backward()
