"""RankGAN's loss: D learns features in which real sentences rank above generated ones.

A reference u prefers a sentence s among others C with probability

    P(s | u, C) = exp(gamma cos(s, u)) / (exp(gamma cos(s, u)) + sum_{c in C} exp(gamma cos(c, u)))

and the rank of s is its mean over references, R(s | U, C) = E_{u in U} P(s | u, C). The losses are

    D: -E log R(real | U, C-) + E log R(fake | U, C+);    G: -E log R(fake | U, C+)

with U and C+ the real sentences of the batch and C- the generated ones (Lin et al. 2017, equations
4 to 8). D's second term is that of equation 8 and of all implementations that we know. Equation 4
has -E log(1 - R(fake)) in its place, whose gradient is smaller by R / (1 - R), about one over the
number of sentences that are compared. A sentence is not compared with itself.
"""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from core.config import Search, StrategyConfig
from core.interfaces import Strategy
from core.types import Scores


class Rank(Strategy):
    """RankGAN: ranks among real sentences, by cosine similarity of D's features."""

    class Config(StrategyConfig):
        """Weight gamma of a cosine (inverse temperature), and what G is rewarded for."""

        gamma: Annotated[float, Field(gt=0), Search(0.5, 20, log=True)] = 5.0
        positive_reward: bool = False  # the rank, not its logarithm

    offers = frozenset({"ranks"})
    needs = {"discriminator": "features"}
    paper = "Lin et al. 2017"
    relativistic = True
    uses_features = True

    def discriminator(self, real: Scores, fake: Scores) -> Tensor:
        """-E log R(real) + E log R(fake)."""
        r, f = _features(real), _features(fake)
        log_rank_real = log_ranks(r, r, f, self.config.gamma)
        log_rank_fake = log_ranks(f, r, r, self.config.gamma)
        return log_rank_fake.mean() - log_rank_real.mean()

    def generator(self, fake: Scores, real: Scores | None) -> Tensor:
        """-E log R(fake), or -E R(fake)."""
        return -self.reward(fake, real).mean()

    def reward(self, fake: Scores, real: Scores | None) -> Tensor:
        """Log R(fake), or R(fake)."""
        assert real is not None
        r = _features(real)
        log_rank = log_ranks(_features(fake), r, r, self.config.gamma)
        return log_rank.exp() if self.config.positive_reward else log_rank


def log_ranks(sentences: Tensor, references: Tensor, others: Tensor, gamma: float) -> Tensor:
    """Log R (N,) of sentences (N, F) by references (U, F) among others (C, F), all features.

    If two of these are the same tensor, no sentence is compared with itself.
    """
    ours = gamma * _cosines(sentences, references)  # (N, U)
    theirs = (gamma * _cosines(others, references)).logsumexp(0)  # (U,)
    log_p = ours - torch.logaddexp(ours, theirs.expand_as(ours))
    count = len(references) - (sentences is references)
    return log_p.logsumexp(1) - math.log(count)


def _cosines(a: Tensor, b: Tensor) -> Tensor:
    cosines = normalize(a, dim=1) @ normalize(b, dim=1).T
    if a is b:
        itself = torch.eye(len(a), dtype=torch.bool, device=a.device)
        cosines = cosines.masked_fill(itself, -math.inf)
    return cosines


def _features(scores: Scores) -> Tensor:
    assert scores.features is not None
    return scores.features
