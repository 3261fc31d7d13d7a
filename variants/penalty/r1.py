"""R1 penalty: gamma / 2 E ||grad D(x)||^2 at real sentences (Mescheder et al. 2018)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from core.config import Search, StrategyConfig
from core.interfaces import Discriminator
from core.training.scoring import squared_grad_norm
from core.types import Embedded


class R1:
    """D is to be flat at real sentences."""

    class Config(StrategyConfig):
        """The weight gamma."""

        name: Literal["r1"] = "r1"
        gamma: Annotated[float, Field(gt=0), Search(0.01, 150, log=True)] = 1.0

    offers: frozenset[str] = frozenset()
    needs: ClassVar[dict[str, str]] = {"discriminator": "embedded_words"}
    paper = "Mescheder et al. 2018"

    def __init__(self, config: Config) -> None:
        self.weight = config.gamma / 2

    def draw(self, count: int, rng: torch.Generator) -> None:
        """Nothing."""

    def __call__(
        self, discriminator: Discriminator, real: Embedded, fake: Embedded, drawn: Tensor | None
    ) -> Tensor:
        """Gamma / 2 E ||grad D(real)||^2."""
        return self.weight * squared_grad_norm(discriminator, real).mean()
