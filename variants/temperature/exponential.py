"""tau = 1 / beta with beta = beta_max^progress."""

from variants.temperature import Annealed


class Exponential(Annealed):
    """From 1 to 1 / beta_max; the inverse temperature grows exponentially."""

    def __call__(self, progress: float) -> float:
        """Tau at this progress."""
        return float(self.config.beta_max**-progress)
