"""R1 + R2, gamma / 2 each: with both, a relativistic objective converges (R3GAN, Huang et al.
2024).
"""

from core.types import Embedded
from variants.penalty import SquaredGradient


class R1R2(SquaredGradient):
    """Squared gradient norm of D at real and at generated sentences."""

    paper = "Huang et al. 2024"

    def __init__(self, config: SquaredGradient.Config) -> None:
        super().__init__(config)
        self.weight *= 2  # the mean over both is half of R1 + R2

    def points(self, real: Embedded, fake: Embedded) -> Embedded:
        """All sentences, in one pass."""
        return real + fake
