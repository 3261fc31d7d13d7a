"""Ranks of sentences by the cosine of their features to references (RankGAN, Lin et al. 2017).

Among a sentence s and others C, a reference u prefers s with probability

    P(s | u, C) = exp(gamma cos(s, u)) / (exp(gamma cos(s, u)) + sum_{c in C} exp(gamma cos(c, u)))

and the rank of s is its mean over references, R(s | U, C) = E_{u in U} P(s | u, C).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize


def log_ranks(sentences: Tensor, references: Tensor, others: Tensor, gamma: float) -> Tensor:
    """Log R of each sentence (N, F) by references (U, F) among others (C, F): (N,).

    Where two of these are one tensor, nothing is compared with itself.
    """
    ours = gamma * _cosines(sentences, references)  # (N, U)
    theirs = (gamma * _cosines(others, references)).logsumexp(0)  # (U,)
    log_p = ours - torch.logaddexp(ours, theirs.expand_as(ours))
    count = len(references) - (sentences is references)
    return log_p.logsumexp(1) - math.log(count)


def log_complement(log_rank: Tensor) -> Tensor:
    """log(1 - R) of log R < 0."""
    tiny = torch.finfo(log_rank.dtype).tiny
    return (-torch.expm1(log_rank)).clamp(min=tiny).log()


def _cosines(a: Tensor, b: Tensor) -> Tensor:
    cosines = normalize(a, dim=1) @ normalize(b, dim=1).T
    if a is b:
        itself = torch.eye(len(a), dtype=torch.bool, device=a.device)
        cosines = cosines.masked_fill(itself, -math.inf)
    return cosines
