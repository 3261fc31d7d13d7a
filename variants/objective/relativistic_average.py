"""Relativistic average objective (Jolicoeur-Martineau 2019, section 4.2):

    D: E sp(-(r - E f)) + E sp(f - E r);    G: E sp(-(f - E r)) + E sp(r - E f).

G's second term depends on its sentences through E f alone, so the reward of one sentence is that
term's slope there: log sigma(f - E r) + E sigma(r - E f) f has the same gradient in expectation.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import softplus

from core.config import StrategyConfig
from core.types import Scores


class RelativisticAverage:
    """D tells whether a sentence is more real than the mean of the other kind."""

    class Config(StrategyConfig):
        """No settings."""

        name: Literal["relativistic_average"] = "relativistic_average"

    offers = frozenset({"scores"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "Jolicoeur-Martineau 2019"
    relativistic = True
    uses_features = False

    def __init__(self, config: Config) -> None:
        pass

    def discriminator(self, real: Scores, fake: Scores) -> Tensor:
        """E sp(-(r - E f)) + E sp(f - E r)."""
        return _above(real, fake.mean()) + _below(fake, real.mean())

    def generator(self, fake: Scores, real: Scores | None) -> Tensor:
        """E sp(-(f - E r)) + E sp(r - E f)."""
        assert real is not None
        return _above(fake, real.mean()) + _below(real, fake.mean())

    def reward(self, fake: Scores, real: Scores | None) -> Tensor:
        """Log sigma(f - E r) + E sigma(r - E f) f."""
        assert real is not None
        slope = real.mean((real.values - fake.mean()).sigmoid()).detach()
        return -softplus(-(fake.values - real.mean())) + slope * fake.values


def _above(scores: Scores, other: Tensor) -> Tensor:
    return scores.mean(softplus(-(scores.values - other)))


def _below(scores: Scores, other: Tensor) -> Tensor:
    return scores.mean(softplus(scores.values - other))
