"""tau = 1 / beta with beta = 1 + (beta_max - 1) progress."""

from typing import Literal

from variants.temperature import Annealed


class Linear(Annealed):
    """From 1 to 1 / beta_max; the inverse temperature grows linearly."""

    class Config(Annealed.Config):
        """The inverse temperature at the end."""

        name: Literal["linear"] = "linear"

    def __call__(self, progress: float) -> float:
        """Tau at this progress."""
        return 1 / (1 + (self.beta_max - 1) * progress)
