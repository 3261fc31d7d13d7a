"""Which player is trained when."""

from typing import Annotated

from pydantic import Field

from core.config import Search
from core.types import Phase

StepsOfD = Annotated[int, Field(ge=1, le=1000), Search(1, 10)]  # for one step of G


def adversarial_phases(
    n_d: int, first_of_d: bool = False, first_of_g: bool = False
) -> tuple[Phase, Phase]:
    """`n_d` steps of D, then one of G; whether they are a player's first after pretraining."""
    discriminator = Phase("discriminator", "adversarial", n_d, reset_optimiser=first_of_d)
    return discriminator, Phase("generator", "adversarial", reset_optimiser=first_of_g)
