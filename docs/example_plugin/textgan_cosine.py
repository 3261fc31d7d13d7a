"""A temperature that falls along half a cosine, like learning rates (Loshchilov & Hutter 2017):

    tau = low + (high - low) (1 + cos(pi progress)) / 2

with `progress` the fraction of the run's budget that is spent.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, model_validator

from core.config import Search, StrategyConfig
from core.interfaces import Strategy


class Cosine(Strategy):
    """From `high` to `low` along half a cosine."""

    class Config(StrategyConfig):
        """Temperatures at the start and at the end; a search may vary both."""

        high: Annotated[float, Field(gt=0), Search(0.5, 2.0, log=True)] = 1.0
        low: Annotated[float, Field(gt=0), Search(0.01, 0.5, log=True)] = 0.1

        @model_validator(mode="after")
        def _it_falls(self) -> Cosine.Config:
            if self.low > self.high:
                raise ValueError(f"low {self.low} is above high {self.high}")
            return self

    paper = "Loshchilov & Hutter 2017"

    def __call__(self, progress: float) -> float:
        """Tau at this progress, 0 to 1."""
        high, low = self.config.high, self.config.low
        return low + (high - low) * (1 + math.cos(math.pi * progress)) / 2
