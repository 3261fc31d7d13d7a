"""Which player is trained when."""

from typing import Annotated

from pydantic import Field

from core.config import Search
from core.types import Phase

StepsOfD = Annotated[int, Field(ge=1, le=1000), Search(1, 10)]  # for one step of G


def adversarial_phases(n_d: int, reset_optimiser: bool = False) -> tuple[Phase, Phase]:
    """`n_d` steps of D, then one of G, whose optimiser may forget its moments first."""
    generator = Phase("generator", "adversarial", reset_optimiser=reset_optimiser)
    return Phase("discriminator", "adversarial", n_d), generator
