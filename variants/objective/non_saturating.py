"""D: E sp(-r) + E sp(f); G: E sp(-f) (Goodfellow et al. 2014, section 3)."""

from torch import Tensor
from torch.nn.functional import softplus

from variants.objective import CrossEntropy


class NonSaturating(CrossEntropy):
    """The non-saturating GAN loss: G maximises log sigma(f)."""

    paper = "Goodfellow et al. 2014"

    def generator_loss(self, f: Tensor) -> Tensor:
        """sp(-f)."""
        return softplus(-f)
