"""The last token plus noise: q_t = e(w_{t-1}) + scale z_t (one stream).

Every step reads noise, as with `noise`, but needs only one stream: a step computes one row instead
of two. The noise is part of the token's own row, so later steps see it too. The first step reads
its noise alone.
"""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from core.config import Search, StrategyConfig
from core.types import Shape
from variants.next_input import NoiseEveryStep


class LastTokenNoise(NoiseEveryStep):
    """The embedding of the last token plus a fresh noise vector."""

    class Config(StrategyConfig):
        """Scale of the noise; its distribution is `model.noise`."""

        scale: Annotated[float, Field(gt=0, le=100), Search(0.1, 10, log=True)] = 1.0

    streams = 1

    def __init__(self, config: Config, shape: Shape, width: int) -> None:
        super().__init__(config, shape, width)
        self.scale = config.scale

    def queries(self, drawn: Tensor | None, count: int) -> Tensor:
        """What is added to the last token of every step (N, S, E)."""
        return self.scale * super().queries(drawn, count)
