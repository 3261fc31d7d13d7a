"""tau = 1 / beta with beta = 1 + (beta_max - 1) progress."""

from variants.temperature import Annealed


class Linear(Annealed):
    """From 1 to 1 / beta_max; the inverse temperature grows linearly."""

    def __call__(self, progress: float) -> float:
        """Tau at this progress."""
        return 1 / (1 + (self.config.beta_max - 1) * progress)
