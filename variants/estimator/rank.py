"""RankGAN's estimator: a word is worth the mean log rank of sentences that go on from it.

    V_t = E over K completions of x_{1..t} of log R(completion | U, C+)

(Lin et al. 2017, section 3.3), with a small set of real sentences as references U and as the others
C+, a new one every update; `rollout` with the `rank` objective takes the whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from core.config import Search, StrategyConfig
from core.interfaces import EstimatorContext
from core.training.rewards import leave_one_out


class RankEstimator:
    """Monte-Carlo completions of every prefix, ranked among a few real sentences."""

    class Config(StrategyConfig):
        """Completions a prefix (K), real sentences to rank among, and the baseline."""

        name: Literal["rank"] = "rank"
        completions: Annotated[int, Field(ge=1, le=1024), Search(1, 16)] = 16
        references: Annotated[int, Field(ge=2, le=65536), Search(4, 64, log=True)] = 16
        baseline: Literal["none", "leave_one_out"] = "none"

    offers = frozenset({"score_function", "mean_over_sentences"})
    needs: ClassVar[dict[str, str]] = {"sampling": "hard_words", "objective": "ranks"}
    paper = "Lin et al. 2017"
    target = "sequence"

    def __init__(self, config: Config) -> None:
        self.config = config

    def prepare(self, context: EstimatorContext) -> tuple[Tensor, ...]:
        """Advantages (N, S)."""
        real = context.real_scores()
        assert real is not None
        N, device = len(real.values), real.values.device
        picked = torch.randperm(N, generator=context.rng, device=device)[: self.config.references]
        values = context.mc_q_values(self.config.completions, real.select(picked))
        if self.config.baseline == "leave_one_out":
            values = leave_one_out(values, context.mask)
        return (values,)

    def loss(self, context: EstimatorContext, prepared: Sequence[Tensor]) -> Tensor:
        """See `EstimatorContext.climb`."""
        return context.policy_gradient_loss(prepared[0])
