"""D: E f - E r; G: -E f (Arjovsky et al. 2017)."""

from torch import Tensor

from core.types import Scores
from variants.objective import ScoreObjective


class Wasserstein(ScoreObjective):
    """Difference of mean scores (WGAN); needs a Lipschitz D, so combine it with a penalty."""

    paper = "Arjovsky et al. 2017"

    def discriminator(self, real: Scores, fake: Scores) -> Tensor:
        """E f - E r."""
        return fake.mean() - real.mean()

    def generator_loss(self, f: Tensor) -> Tensor:
        """-f."""
        return -f
