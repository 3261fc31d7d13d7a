"""z in R^(S,E) through M linear layers E -> E, the same at every position."""

from typing import Literal

from core.types import Shape
from variants.noise_mapping import LinearMapping


class FullMapping(LinearMapping):
    """One noise vector per position, through linear layers shared by all positions."""

    class Config(LinearMapping.Config):
        """Depth M (0: identity), and an activation between the layers (the original has none)."""

        name: Literal["full"] = "full"

    paper = "the original gan_textgen"

    def __init__(self, config: Config, shape: Shape, width: int) -> None:
        super().__init__(config, (shape.length, width))
