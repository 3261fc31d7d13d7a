"""Adversarial training with a likelihood step every k updates, which keeps G near real text
(LeakGAN, Guo et al. 2018, section "Training Techniques").
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from core.config import Search, StrategyConfig
from core.interfaces import Strategy
from core.types import Phase, Progress
from variants.schedule import StepsOfD, adversarial_phases

LearningRate = Annotated[float, Field(gt=0, lt=1), Search(1e-5, 3e-2, log=True)]


class Interleaved(Strategy):
    """Adversarial training, with a likelihood step of G in every k-th update."""

    class Config(StrategyConfig):
        """How often, at which learning rate (None: G's own), and steps of D for one of G."""

        every: Annotated[int, Field(ge=1), Search(1, 50, log=True)] = 10
        likelihood_lr: LearningRate | None = None
        n_d: StepsOfD = 1

    needs = {"sampling": "likelihood"}
    paper = "Guo et al. 2018"
    adversarial = True

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """The likelihood step comes first in updates 0, k, 2k and so on."""
        phases = adversarial_phases(self.config.n_d)
        if progress.update % self.config.every:
            return phases
        return (Phase("generator", "likelihood", lr=self.config.likelihood_lr), *phases)
