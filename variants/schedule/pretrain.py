"""Pretraining of G with likelihood, pretraining of D against G, then adversarial training
(SeqGAN, Yu et al. 2017, algorithm 1; almost every text GAN since).

Pretraining is part of the run's budget: one update is one step of it. Papers give its length in
epochs; epochs and updates add up. G's optimiser forgets its moments when adversarial training
begins, as in the published codes, which have one optimiser per loss: likelihood gradients are ten
times smaller, so Adam's first adversarial steps would be that much too large.
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from core.config import Search, StrategyConfig
from core.interfaces import Strategy
from core.types import Phase, Progress
from variants.schedule import StepsOfD, adversarial_phases

Epochs = Annotated[float, Field(ge=0)]  # of the training split, one batch per update
Updates = Annotated[int, Field(ge=0)]
LearningRate = Annotated[float, Field(gt=0, lt=1), Search(1e-4, 1e-1, log=True)]


class Pretrain(Strategy):
    """Pretraining of G with likelihood, then of D, then adversarial training."""

    class Config(StrategyConfig):
        """Lengths of the two pretrainings, the learning rate of G's (None: G's own), steps of D."""

        generator_epochs: Epochs = 0.0
        generator_updates: Updates = 0
        generator_lr: LearningRate | None = None
        discriminator_epochs: Epochs = 0.0
        discriminator_updates: Updates = 0
        n_d: StepsOfD = 1

    needs = {"sampling": "likelihood"}
    offers = frozenset({"pretraining"})
    paper = "Yu et al. 2017"
    adversarial = True

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """The stage that this update belongs to."""
        config, epoch = self.config, progress.updates_per_epoch
        end = config.generator_updates + round(config.generator_epochs * epoch)
        if progress.update < end:
            lr = config.generator_lr
            return (Phase("generator", "likelihood", lr=lr, pretraining=True),)
        first = progress.update == end
        end += config.discriminator_updates + round(config.discriminator_epochs * epoch)
        if progress.update < end:
            phase = Phase("discriminator", "adversarial", reset_optimiser=first, pretraining=True)
            return (phase,)
        return adversarial_phases(config.n_d, first, progress.update == end)
