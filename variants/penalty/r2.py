"""R2 penalty: gamma / 2 E ||grad D(x)||^2 at generated sentences (Mescheder et al. 2018)."""

from core.types import Embedded
from variants.penalty import SquaredGradient


class R2(SquaredGradient):
    """Squared gradient norm of D at generated sentences."""

    paper = "Mescheder et al. 2018"

    def points(self, real: Embedded, fake: Embedded) -> Embedded:
        """The generated sentences."""
        return fake
