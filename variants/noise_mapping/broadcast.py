"""z in R^S through M linear layers S -> S, then repeated over the width E."""

from torch import Tensor

from core.types import Shape
from variants.noise_mapping import LinearMapping


class BroadcastMapping(LinearMapping):
    """One number per position, through linear layers over positions, repeated over the width."""

    paper = "the original pytorch_textgen"

    def __init__(self, config: LinearMapping.Config, shape: Shape, width: int) -> None:
        super().__init__(config, (shape.length,))
        self.width = width

    def forward(self, latent: Tensor) -> Tensor:
        """Latent (N, S) to memory (N, S, E)."""
        return super().forward(latent).unsqueeze(-1).expand(-1, -1, self.width)
