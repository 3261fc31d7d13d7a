"""No penalty."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from core.config import StrategyConfig
from core.interfaces import Discriminator
from core.types import Embedded


class NoPenalty:
    """Nothing is added to D's loss."""

    class Config(StrategyConfig):
        """No settings."""

        name: Literal["none"] = "none"

    offers: frozenset[str] = frozenset()
    needs: ClassVar[dict[str, str]] = {}
    paper = ""

    def __init__(self, config: Config) -> None:
        pass

    def draw(self, count: int, rng: torch.Generator) -> None:
        """Nothing."""

    def __call__(
        self, discriminator: Discriminator, real: Embedded, fake: Embedded, drawn: Tensor | None
    ) -> Tensor:
        """Zero."""
        return discriminator.embedding.new_zeros(())
