"""Terms added to D's loss."""

from abc import ABC, abstractmethod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from core.config import Search, StrategyConfig
from core.interfaces import Discriminator, Strategy
from core.training.scoring import squared_grad_norm
from core.types import Embedded


class SquaredGradient(Strategy, ABC):
    """gamma / 2 E ||grad D(x)||^2; a penalty says at which sentences x (`points`)."""

    class Config(StrategyConfig):
        """The weight gamma."""

        gamma: Annotated[float, Field(gt=0), Search(0.01, 150, log=True)] = 1.0

    needs = {"discriminator": "embedded_tokens"}

    def __init__(self, config: Config) -> None:
        self.weight = config.gamma / 2

    def draw(self, count: int, rng: torch.Generator) -> None:
        """No random numbers."""

    @abstractmethod
    def points(self, real: Embedded, fake: Embedded) -> Embedded:
        """The sentences x at which the gradient is taken."""

    def __call__(
        self, discriminator: Discriminator, real: Embedded, fake: Embedded, drawn: Tensor | None
    ) -> Tensor:
        """The weighted penalty, a scalar."""
        return self.weight * squared_grad_norm(discriminator, self.points(real, fake)).mean()
