"""From rewards to what a word's log-likelihood is weighted with.

A baseline is subtracted from a reward; as long as it does not depend on the word itself, the mean
of the gradient stays what it was (Williams 1992) and its variance falls.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MovingBaseline(nn.Module):
    """b <- rho b + (1 - rho) mean R, from zero on; of the updates before, so independent of R."""

    value: Tensor

    def __init__(self, rho: float) -> None:
        super().__init__()
        self.rho = rho
        self.register_buffer("value", torch.zeros(()))

    def subtract(self, rewards: Tensor, mask: Tensor | None = None) -> Tensor:
        """Rewards (N,) or (N, S) less b; then b moves to their mean over what is visible."""
        visible = rewards if mask is None else rewards[mask]
        advantages = rewards - self.value
        self.value = self.rho * self.value + (1 - self.rho) * visible.mean()
        return advantages


def leave_one_out(rewards: Tensor, mask: Tensor | None = None) -> Tensor:
    """Each sentence's rewards (N,) or (N, S) less the mean of the others' (N at least 2), step by
    step; of those that are visible there, and 0 where no other is (Kool et al. 2019).
    """
    here = torch.ones_like(rewards) if mask is None else mask.to(rewards.dtype)
    others = here.sum(0) - here
    mean = ((rewards * here).sum(0) - rewards * here) / others.clamp(min=1)
    return rewards - mean


def discounted(rewards: Tensor, gamma: float) -> Tensor:
    """R_t = sum over s >= t of gamma^(s - t) r_s, of rewards (N, S)."""
    total, totals = torch.zeros_like(rewards[:, 0]), []
    for reward in reversed(rewards.unbind(1)):
        total = reward + gamma * total
        totals.append(total)
    return torch.stack(totals[::-1], dim=1)
