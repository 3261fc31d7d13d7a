"""n_D steps of D, then one of G (Goodfellow et al. 2014, algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from core.config import Search, StrategyConfig
from core.types import Phase, Progress


class Adversarial:
    """n_D : 1, from the first update on."""

    class Config(StrategyConfig):
        """D's steps for one of G's."""

        name: Literal["adversarial"] = "adversarial"
        n_d: Annotated[int, Field(ge=1, le=1000), Search(1, 10)] = 5

    offers = frozenset({"adversarial"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "Goodfellow et al. 2014"
    adversarial = True

    def __init__(self, config: Config) -> None:
        self._phases = (
            Phase("discriminator", "adversarial", config.n_d),
            Phase("generator", "adversarial"),
        )

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """The same two phases every update."""
        return self._phases
