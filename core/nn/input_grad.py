"""Gradients of D's scores with respect to embedded tokens, to be differentiated again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from core.nn.layers import Block
from core.protocols import Discriminator
from core.sentences import Rows, Scores


@contextmanager
def double_backward(discriminator: Discriminator) -> Iterator[None]:
    """What D computes inside can be differentiated twice.

    Its blocks compute in float32 whatever the precision is (a penalty compares a norm with one),
    and not through torch's compiler. Fused attention and cuDNN's recurrent layers, which have no
    second derivative, are off.
    """
    assert isinstance(discriminator, nn.Module)
    blocks = [part for part in discriminator.modules() if isinstance(part, Block)]
    before = [(block.autocast, block.compiled) for block in blocks]
    for block in blocks:
        block.autocast = block.compiled = False
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        for block, flags in zip(blocks, before, strict=True):
            block.autocast, block.compiled = flags


def input_grad(
    discriminator: Discriminator, scores: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    """The gradient of the sum of D's `scores` at embedded tokens x (N, S, E), in their shape;
    differentiable with respect to D and x.
    """
    with double_backward(discriminator):
        (g,) = torch.autograd.grad(scores(x).sum(), x, create_graph=True)
    return g


def squared_grad_norm(discriminator: Discriminator, rows: Rows) -> Tensor:
    """||grad D(x)||^2 (N,) with respect to embedded tokens x (N, S, E), differentiable in D.

    Tokens have no neighbours but in the embedding space, so it is taken there. A per-step
    discriminator's scores are summed, which keeps one gradient a sentence.
    """

    def scores(x: Tensor) -> Tensor:
        return Scores.by(discriminator, Rows(x, rows.mask)).values

    return input_grad(discriminator, scores, rows.embedded).square().sum((1, 2))
