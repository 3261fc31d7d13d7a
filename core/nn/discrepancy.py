"""Squared maximum mean discrepancy of two batches, with gradient (Gretton et al. 2012, eq. 3)."""

from __future__ import annotations

import torch
from torch import Tensor


def squared_mmd(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased estimate of x (N, F) and y (N, F), N at least 2, with the Gaussian kernel
    exp(-|a - b|^2 / (2 s^2)), s^2 the median squared distance of two different rows of both (the
    lower one of two), which is a constant for the gradient. May be below zero.
    """
    N = len(x)
    both = torch.cat([x, y])
    norms = both.square().sum(1)
    squared = (norms[:, None] + norms - 2 * both @ both.T).clamp(min=0)  # (2N, 2N)
    with torch.no_grad():
        above = torch.ones_like(squared, dtype=torch.bool).triu(1)
        scale = squared[above].median().clamp(min=torch.finfo(squared.dtype).tiny)
    kernel = (-squared / (2 * scale)).exp()
    own = 1 - torch.eye(N, dtype=kernel.dtype, device=kernel.device)
    pairs = (kernel[:N, :N] + kernel[N:, N:]) * own
    across = kernel[:N, N:]
    return pairs.sum() / (N * (N - 1)) - 2 * across.mean()
