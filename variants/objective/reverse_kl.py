"""D: E sp(-r) + E sp(f); G: -E f.

At D's optimum f = log p_data - log p_G, so G's loss is KL(p_G || p_data) (Sonderby et al. 2017;
TaylorGAN, Lin et al. 2020).
"""

from torch import Tensor

from variants.objective import CrossEntropy


class ReverseKL(CrossEntropy):
    """Reverse KL: G maximises D's log-odds, an estimate of log p_data - log p_G."""

    paper = "Sonderby et al. 2017; Lin et al. 2020"

    def generator_loss(self, f: Tensor) -> Tensor:
        """-f."""
        return -f
