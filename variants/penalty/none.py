"""No penalty."""

import torch
from torch import Tensor

from core.interfaces import Discriminator, Strategy
from core.types import Embedded


class NoPenalty(Strategy):
    """Nothing is added to D's loss."""

    def draw(self, count: int, rng: torch.Generator) -> None:
        """No random numbers."""

    def __call__(
        self, discriminator: Discriminator, real: Embedded, fake: Embedded, drawn: Tensor | None
    ) -> Tensor:
        """Zero."""
        return discriminator.embedding.new_zeros(())
