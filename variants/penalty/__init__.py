"""Terms added to D's loss."""

from abc import ABC, abstractmethod
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from core.config import Search, StrategyConfig
from core.interfaces import Discriminator, Strategy
from core.training.scoring import squared_grad_norm
from core.types import Embedded


class SquaredGradient(Strategy, ABC):
    """gamma / 2 E ||grad D(x)||^2; a penalty says at which sentences x (`points`).

    At embeddings its size depends on their scale: larger embeddings before smaller weights are the
    same D with a smaller penalty. At one-hot tokens it depends on the function D alone.
    """

    class Config(StrategyConfig):
        """The weight gamma, and the input of D that the gradient is taken at."""

        gamma: Annotated[float, Field(gt=0), Search(0.01, 150, log=True)] = 1.0
        at: Literal["embeddings", "tokens"] = "embeddings"

    needs = {"discriminator": "embedded_tokens"}

    def __init__(self, config: Config) -> None:
        self.weight, self.at_tokens = config.gamma / 2, config.at == "tokens"

    def draw(self, count: int, rng: torch.Generator) -> None:
        """No random numbers."""

    @abstractmethod
    def points(self, real: Embedded, fake: Embedded) -> Embedded:
        """The sentences x at which the gradient is taken."""

    def __call__(
        self, discriminator: Discriminator, real: Embedded, fake: Embedded, drawn: Tensor | None
    ) -> Tensor:
        """The weighted penalty, a scalar."""
        points = self.points(real, fake)
        return self.weight * squared_grad_norm(discriminator, points, self.at_tokens).mean()
