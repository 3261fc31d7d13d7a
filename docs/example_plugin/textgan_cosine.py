"""A temperature that falls along half a cosine, as learning rates do (Loshchilov & Hutter 2017):

    tau = low + (high - low) (1 + cos(pi i/N)) / 2

with i/N the share of the run's own budget that is spent.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from core.config import Search, StrategyConfig


class Cosine:
    """Slow at first, fast in the middle, slow at the end."""

    class Config(StrategyConfig):
        """Where it begins and where it ends; a search may vary both."""

        name: Literal["cosine"] = "cosine"
        high: Annotated[float, Field(gt=0), Search(0.5, 2.0, log=True)] = 1.0
        low: Annotated[float, Field(gt=0), Search(0.01, 0.5, log=True)] = 0.1

        @model_validator(mode="after")
        def _it_falls(self) -> Cosine.Config:
            if self.low > self.high:
                raise ValueError(f"low {self.low} is above high {self.high}")
            return self

    offers = frozenset({"temperature"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "Loshchilov & Hutter 2017"

    def __init__(self, config: Config) -> None:
        self.high, self.low = config.high, config.low

    def __call__(self, progress: float) -> float:
        """Tau at this progress, 0 to 1."""
        return self.low + (self.high - self.low) * (1 + math.cos(math.pi * progress)) / 2
