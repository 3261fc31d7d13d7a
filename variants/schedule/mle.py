"""Maximum likelihood: one step of G on real sentences, no discriminator at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from core.config import StrategyConfig
from core.types import Phase, Progress


class MaximumLikelihood:
    """Teacher-forced likelihood, the baseline of every comparison."""

    class Config(StrategyConfig):
        """No settings."""

        name: Literal["mle"] = "mle"

    offers: frozenset[str] = frozenset()
    needs: ClassVar[dict[str, str]] = {"sampling": "likelihood"}
    paper = ""
    adversarial = False

    def __init__(self, config: Config) -> None:
        pass

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """One step of likelihood."""
        return (Phase("generator", "likelihood"),)
