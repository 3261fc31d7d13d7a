"""From D's scores to a gradient for G.

What the score-function estimators share. A baseline is subtracted from a reward: if it does not
depend on the token itself, the expected gradient stays the same (Williams 1992) and its variance
falls.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from core.config import Search
from core.interfaces import EstimatorContext, Strategy

SCORE_FUNCTION = frozenset({"score_function", "mean_over_sentences"})  # what they offer
DecayRate = Annotated[float, Field(ge=0, lt=1), Search(0, 0.99)]  # rho of a moving baseline


class PolicyGradient(Strategy, ABC):
    """E sum_t A_t grad log p(x_t | x_<t), with advantages A that an estimator computes."""

    offers = SCORE_FUNCTION
    needs = {"sampling": "hard_tokens"}
    target = "sequence"

    @abstractmethod
    def advantages(self, context: EstimatorContext) -> Tensor:
        """A (N, S), or (N,) for the same at every step; without gradient."""

    def prepare(self, context: EstimatorContext) -> tuple[Tensor, ...]:
        """The advantages."""
        return (self.advantages(context),)

    def loss(self, context: EstimatorContext, prepared: Sequence[Tensor]) -> Tensor:
        """See `EstimatorContext.policy_gradient_loss`."""
        return context.policy_gradient_loss(prepared[0])


class MovingBaseline(nn.Module):
    """b <- rho b + (1 - rho) mean R, starting at zero. b comes from earlier updates, so it is
    independent of R. If it `includes_batch`, b has moved before it is subtracted, and after n
    updates b / (1 - rho^n) is subtracted: a weighted mean of rewards, without the zero at first.
    """

    value: Tensor
    weight: Tensor | None

    def __init__(self, rho: float, includes_batch: bool = False) -> None:
        super().__init__()
        self.rho = rho
        self.register_buffer("value", torch.zeros(()))
        self.register_buffer("weight", torch.zeros(()) if includes_batch else None)  # 1 - rho^n

    def subtract(self, rewards: Tensor, mask: Tensor | None = None) -> Tensor:
        """Rewards (N,) or (N, S) less b; b moves towards the mean of the visible rewards."""
        visible, b = rewards if mask is None else rewards[mask], self.value
        self.value = self.rho * self.value + (1 - self.rho) * visible.mean()
        if self.weight is not None:
            self.weight = self.rho * self.weight + 1 - self.rho
            b = self.value / self.weight
        return rewards - b


def subtract_others(rewards: Tensor, mask: Tensor | None = None) -> Tensor:
    """Rewards (N,) or (N, S) less the mean of the other sentences' at the same step, N at least 2.
    Only visible steps count; where no other sentence is visible the mean is 0 (Kool et al. 2019).
    """
    visible = torch.ones_like(rewards) if mask is None else mask.to(rewards.dtype)
    others = visible.sum(0) - visible
    mean = ((rewards * visible).sum(0) - rewards * visible) / others.clamp(min=1)
    return rewards - mean


def discounted(rewards: Tensor, gamma: float) -> Tensor:
    """Returns R_t = sum over s >= t of gamma^(s - t) r_s, of rewards r (N, S)."""
    total, totals = torch.zeros_like(rewards[:, 0]), []
    for reward in reversed(rewards.unbind(1)):
        total = reward + gamma * total
        totals.append(total)
    return torch.stack(totals[::-1], dim=1)
