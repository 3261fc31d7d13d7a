"""A temperature that falls: tau = 1 / beta with beta = 1 + (beta_max - 1) i/N, i/N the
share of the run's own budget that is spent (Nie et al. 2019, section 3.4).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from core.config import Search, StrategyConfig


class Linear:
    """From 1 down to 1 / beta_max, as beta grows by equal steps."""

    class Config(StrategyConfig):
        """The inverse temperature of the end."""

        name: Literal["linear"] = "linear"
        beta_max: Annotated[float, Field(ge=1), Search(1, 1000, log=True)] = 100.0

    offers = frozenset({"temperature"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "Nie et al. 2019"

    def __init__(self, config: Config) -> None:
        self.beta = config.beta_max

    def __call__(self, progress: float) -> float:
        """Tau at this progress."""
        return 1 / (1 + (self.beta - 1) * progress)
