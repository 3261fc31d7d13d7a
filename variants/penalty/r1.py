"""R1 penalty: gamma / 2 E ||grad D(x)||^2 at real sentences (Mescheder et al. 2018)."""

from typing import Literal

from core.types import Embedded
from variants.penalty import SquaredGradient


class R1(SquaredGradient):
    """Squared gradient norm of D at real sentences."""

    class Config(SquaredGradient.Config):
        """The weight gamma."""

        name: Literal["r1"] = "r1"

    paper = "Mescheder et al. 2018"

    def points(self, real: Embedded, fake: Embedded) -> Embedded:
        """The real sentences."""
        return real
