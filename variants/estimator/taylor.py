"""TaylorGAN: a sampled sentence also gives gradients for similar tokens.

With e_w the embedding of token w in D's table, a first-order expansion of the reward estimates its
value if token w replaced x_t:

    R_t(w) = R - b + grad_{e_t} R . (e_w - e_{x_t})

A Gaussian kernel K(v, w) = exp(-||e_v - e_w||^2 / (2 h^2)) weights tokens by their distance. With
L(w) = sum_v p(v) K(v, w) the expected weight of w,

    E sum_t sum_w K(x_t, w) / L(w) R_t(w) grad p(w | x_<t)

(Lin et al. 2020; the formulas are those of the authors' code, TaylorEstimator in discrete.py). For
h -> 0 the kernel is the identity, and this is REINFORCE. Their baseline `includes_batch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from core.config import Search, StrategyConfig
from core.interfaces import EstimatorContext, Strategy
from core.nn.likelihood import HELD, expectation
from core.training.rollout import TOGETHER
from variants.estimator import SCORE_FUNCTION, DecayRate, MovingBaseline

EPSILON = 1e-8


class Taylor(nn.Module, Strategy):
    """TaylorGAN: a policy gradient that credits similar tokens, by a Taylor expansion of D."""

    class Config(StrategyConfig):
        """Bandwidth h of the kernel; decay rho of the baseline, and what it is of."""

        bandwidth: Annotated[float, Field(gt=0), Search(0.05, 5, log=True)] = 0.5
        rho: DecayRate = 0.9
        includes_batch: bool = False  # the baseline is a mean of all rewards so far, these included

    offers = SCORE_FUNCTION
    needs = {"sampling": "hard_tokens", "discriminator": "embedded_tokens"}
    paper = "Lin et al. 2020"
    target = "smoothed"

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.bandwidth = config.bandwidth
        self.baseline = MovingBaseline(config.rho, config.includes_batch)

    def prepare(self, context: EstimatorContext) -> tuple[Tensor, ...]:
        """Advantages (N,) and the gradient of the reward at D's embeddings (N, S, E)."""
        rewards, input_grad = context.input_grad()
        return self.baseline.subtract(rewards), input_grad

    def loss(self, context: EstimatorContext, prepared: Sequence[Tensor]) -> Tensor:
        """Minus the mean over sentences of sum_t sum_w A_t(w) p(w), A without gradient."""
        advantages, input_grad = prepared
        table = context.discriminator.embedding.detach()  # (V, E)
        kernel = Kernel(table, self.bandwidth)
        tokens, hidden, head = context.draw.tokens, context.draw.hidden, context.generator.head
        at_once = tokens.numel() * len(table) <= HELD
        smooth = smoothed(hidden, head, kernel).flatten(0, 1) if at_once else None  # (N S, V)
        gradients, flat, S = input_grad.flatten(0, 1), tokens.flatten(), tokens.shape[1]

        def weights(log_p: Tensor, places: Tensor) -> Tensor:
            g, drawn = gradients[places], flat[places]
            here = (g * table[drawn]).sum(-1)
            values = (advantages[places // S] - here).unsqueeze(1) + g @ table.T  # (M, V)
            expected = kernel.smooth(log_p.exp()) if smooth is None else smooth[places]
            return kernel.rows(drawn) * values / (expected + EPSILON)

        return -expectation(hidden, head, context.mask, weights)


@torch.no_grad()
def smoothed(hidden: Tensor, head: nn.Linear, kernel: Kernel) -> Tensor:
    """L (N, S, V) of all steps from hidden (N, S, E): a kernel that is computed in columns is then
    computed once, not at every step.
    """
    p = head(hidden).softmax(-1)
    return kernel.smooth(p.flatten(0, 1)).view_as(p)


class Kernel:
    """K (V, V) between the rows of a table (V, E); stored if it fits, else computed in columns."""

    def __init__(self, table: Tensor, bandwidth: float) -> None:
        self.scaled = table / (bandwidth * 2**0.5)
        self.columns = max(1, TOGETHER // len(table))
        self.whole = self._between(self.scaled) if self.columns >= len(table) else None

    def rows(self, tokens: Tensor) -> Tensor:
        """K(tokens, .), (N, V)."""
        if self.whole is not None:
            return self.whole[tokens]
        return torch.cdist(self.scaled[tokens], self.scaled).square().neg().exp()

    def smooth(self, p: Tensor) -> Tensor:
        """P K of distributions p (N, V)."""
        if self.whole is not None:
            return p @ self.whole
        parts = self.scaled.split(self.columns)  # type: ignore[no-untyped-call]
        return torch.cat([p @ self._between(part) for part in parts], dim=1)

    def _between(self, part: Tensor) -> Tensor:
        return torch.cdist(self.scaled, part).square().neg().exp()
