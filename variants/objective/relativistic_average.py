"""The relativistic average loss (Jolicoeur-Martineau 2019, section 4.2):

    D: E sp(-(r - E f)) + E sp(f - E r);    G: E sp(-(f - E r)) + E sp(r - E f).

G's second term depends on its sentences only through E f. The reward of a sentence is therefore
log sigma(f - E r) + E sigma(r - E f) f, which has the same gradient in expectation.
"""

from typing import Literal

from torch import Tensor
from torch.nn.functional import softplus

from core.config import StrategyConfig
from core.types import Scores
from variants.objective.relativistic import Relativistic


class RelativisticAverage(Relativistic):
    """Relativistic average loss: each score is compared with the mean of the other kind."""

    class Config(StrategyConfig):
        """The reward, of which there is one."""

        reward: Literal["relative"] = "relative"

    offers = frozenset()  # its losses are no means over sentences

    def discriminator(self, real: Scores, fake: Scores) -> Tensor:
        """E sp(-(r - E f)) + E sp(f - E r)."""
        above = real.mean(softplus(-(real.values - fake.mean())))
        return above + fake.mean(softplus(fake.values - real.mean()))

    def reward(self, fake: Scores, real: Scores | None) -> Tensor:
        """Log sigma(f - E r) + E sigma(r - E f) f."""
        assert real is not None
        slope = real.mean((real.values - fake.mean()).sigmoid()).detach()
        return -softplus(-(fake.values - real.mean())) + slope * fake.values
