"""Convolutions over the words of a sentence, their strongest response over time, and highways.

    c_k = max_t relu(W_k x_{t .. t + k - 1} + b_k)  for every kernel k      (Kim 2014)
    y = g * relu(W x) + (1 - g) * x,  g = sigmoid(W' x)                     (Srivastava et al. 2015)

The maximum is taken first (relu is monotone), so that nothing of the size of all responses is kept
for the backward pass but their places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import pad

from core.errors import InputError

Counts = tuple[Annotated[int, Field(ge=1, le=65536)], ...]


def one_count_a_kernel(kernels: Counts, filters: Counts) -> None:
    """ValueError unless there are as many counts of filters as kernels, and some."""
    if len(kernels) != len(filters) or not kernels:
        raise ValueError(
            f"kernels and filters must be lists of the same length, not of {len(kernels)} and "
            f"{len(filters)}"
        )


def fitting(kernels: Counts, filters: Counts, length: int) -> tuple[list[int], list[int]]:
    """The kernels that fit into sentences of `length`, and their filters; InputError if none."""
    pairs = [(k, f) for k, f in zip(kernels, filters, strict=True) if k <= length]
    if not pairs:
        raise InputError(
            f"discriminator.kernels = {list(kernels)}: all are longer than model.length = {length}"
        )
    return [k for k, _ in pairs], [f for _, f in pairs]


class MaxOverTime(nn.Module):
    """The strongest response of every filter of every kernel, side by side."""

    def __init__(self, inputs: int, kernels: Sequence[int], filters: Sequence[int]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv1d(inputs, count, kernel) for kernel, count in zip(kernels, filters, strict=True)
        )
        self.longest, self.features = max(kernels), sum(filters)

    def forward(self, x: Tensor) -> Tensor:
        """Channels over time (N, I, S) to features (N, F); what is shorter than a kernel is filled
        up with zeros.
        """
        if x.shape[2] < self.longest:
            x = pad(x, (0, self.longest - x.shape[2]))
        strongest = [convolution(x).max(dim=2).values for convolution in self.convolutions]
        return torch.cat(strongest, dim=1).relu()


class Highway(nn.Module):
    """One highway layer of `width`, its gate half open at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.transform, self.gate = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """X (N, F)."""
        return x + self.gate(x).sigmoid() * (self.transform(x).relu() - x)
