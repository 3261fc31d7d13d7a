"""A temperature that stays: tau = value."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from core.config import Search, StrategyConfig


class Constant:
    """The same temperature from the first update to the last."""

    class Config(StrategyConfig):
        """tau > 0."""

        name: Literal["constant"] = "constant"
        value: Annotated[float, Field(gt=0), Search(0.1, 2.0, log=True)] = 1.0

    offers = frozenset({"temperature"})
    needs: ClassVar[dict[str, str]] = {}
    paper = ""

    def __init__(self, config: Config) -> None:
        self.value = config.value

    def __call__(self, progress: float) -> float:
        """Tau, whatever the progress."""
        return self.value
