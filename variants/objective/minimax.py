"""D: E sp(-r) + E sp(f); G: -E sp(f) = E log(1 - sigma(f)) (Goodfellow et al. 2014, equation 1).

As a reward, -log(1 - sigma(f)) has no upper bound, and published policy gradients do not use it.
They take the probability of being real.
"""

from typing import Literal

from torch import Tensor
from torch.nn.functional import softplus

from core.types import Scores
from variants.objective import CrossEntropy


class Minimax(CrossEntropy):
    """The original GAN loss: G minimises what D maximises; saturates when D is confident."""

    class Config(CrossEntropy.Config):
        """Label smoothing; the reward of policy gradients."""

        # "signed": 2 sigma(f) - 1, as in ScratchGAN. "probability": sigma(f), as in SeqGAN; all
        # rewards are positive, so without a baseline every sampled token becomes more likely.
        reward: Literal["signed", "probability"] = "signed"

    paper = "Goodfellow et al. 2014"

    def generator_loss(self, f: Tensor) -> Tensor:
        """-sp(f)."""
        return -softplus(f)

    def reward(self, fake: Scores, real: Scores | None) -> Tensor:
        """The probability of being real, sigma(f), or 2 sigma(f) - 1."""
        probability = fake.values.sigmoid()
        return 2 * probability - 1 if self.config.reward == "signed" else probability
