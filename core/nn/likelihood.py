"""How likely words are, without holding the logits of all steps.

Step by step, forward and again backward: memory is one step's logits (N, V).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear
from torch.utils.checkpoint import checkpoint

from core.text.vocabulary import PAD


def negative_log_likelihood(hidden: Tensor, head: nn.Linear, tokens: Tensor) -> Tensor:
    """-log p of each word (N, S) in nats under softmax(head(hidden)), hidden (N, S, E); 0 at
    padding.
    """
    steps = [
        checkpoint(
            _of_step,
            h,
            head.weight,
            head.bias,
            words,
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for h, words in zip(hidden.unbind(1), tokens.unbind(1), strict=True)
    ]
    return torch.stack(steps, dim=1)


def _of_step(hidden: Tensor, weight: Tensor, bias: Tensor, words: Tensor) -> Tensor:
    return cross_entropy(linear(hidden, weight, bias), words, ignore_index=PAD, reduction="none")
