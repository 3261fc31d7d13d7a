"""RankGAN: the value of a token is the mean log rank of sentences that continue from it.

    Q_t = E over K completions of x_{1..t} of log R(completion | U, C+)

(Lin et al. 2017, section 3.3). References U and others C+ are a small set of real sentences, a new
one in every update; `rollout` with the `rank` objective uses the whole batch. With
`objective.positive_reward = true` the value is R itself, as in public implementations.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from core.config import Search
from core.interfaces import EstimatorContext
from variants.estimator.rollout import Rollout


class RankEstimator(Rollout):
    """RankGAN: action values from completions, ranked among a few real sentences."""

    class Config(Rollout.Config):
        """Completions per prefix (K), the baseline, and real sentences to rank among."""

        references: Annotated[int, Field(ge=2, le=65536), Search(4, 64, log=True)] = 16

    needs = {"sampling": "hard_tokens", "objective": "ranks"}
    paper = "Lin et al. 2017"

    def q_values(self, context: EstimatorContext) -> Tensor:
        """Q (N, S)."""
        real = context.real_scores()
        assert real is not None
        N, device = len(real.values), real.values.device
        picked = torch.randperm(N, generator=context.rng, device=device)[: self.config.references]
        return context.mc_q_values(self.config.completions, real.select(picked))
