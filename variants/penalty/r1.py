"""R1 penalty: gamma / 2 E ||grad D(x)||^2 at real sentences (Mescheder et al. 2018)."""

from core.types import Embedded
from variants.penalty import SquaredGradient


class R1(SquaredGradient):
    """Squared gradient norm of D at real sentences."""

    paper = "Mescheder et al. 2018"

    def points(self, real: Embedded, fake: Embedded) -> Embedded:
        """The real sentences."""
        return real
