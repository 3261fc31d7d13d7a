"""n_d steps of D, then one of G, in every update (Goodfellow et al. 2014, algorithm 1)."""

from collections.abc import Sequence

from core.config import StrategyConfig
from core.interfaces import Strategy
from core.types import Phase, Progress
from variants.schedule import StepsOfD, adversarial_phases


class Adversarial(Strategy):
    """Adversarial training from the first update: n_d steps of D, then one of G."""

    class Config(StrategyConfig):
        """Steps of D for one of G."""

        n_d: StepsOfD = 5

    paper = "Goodfellow et al. 2014"
    adversarial = True

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """The same two phases in every update."""
        return adversarial_phases(self.config.n_d)
