"""D: E max(0, 1 - r) + E max(0, 1 + f); G: -E f (Lim & Ye 2017)."""

from torch import Tensor

from core.types import Scores
from variants.objective import ScoreObjective


class Hinge(ScoreObjective):
    """Hinge loss: scores beyond a margin of 1 do not count in D's loss."""

    paper = "Lim & Ye 2017"

    def discriminator(self, real: Scores, fake: Scores) -> Tensor:
        """E max(0, 1 - r) + E max(0, 1 + f)."""
        return real.mean((1 - real.values).relu()) + fake.mean((1 + fake.values).relu())

    def generator_loss(self, f: Tensor) -> Tensor:
        """-f."""
        return -f
