"""tau = value."""

from typing import Annotated

from pydantic import Field

from core.config import Search, StrategyConfig
from core.interfaces import Strategy


class Constant(Strategy):
    """The same temperature during the whole run."""

    class Config(StrategyConfig):
        """tau > 0."""

        value: Annotated[float, Field(gt=0), Search(0.1, 2.0, log=True)] = 1.0

    def __call__(self, progress: float) -> float:
        """Tau at this progress."""
        return self.config.value
