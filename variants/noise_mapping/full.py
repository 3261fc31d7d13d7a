"""z in R^(S,E) through M linear layers E -> E, the same at every position."""

from core.types import Shape
from variants.noise_mapping import LinearMapping


class FullMapping(LinearMapping):
    """One noise vector per position, through linear layers shared by all positions."""

    paper = "the original gan_textgen"

    def __init__(self, config: LinearMapping.Config, shape: Shape, width: int) -> None:
        super().__init__(config, (shape.length, width))
