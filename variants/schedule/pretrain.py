"""Likelihood first, then the game: G's pretraining, D's pretraining against it, then n_D : 1
(SeqGAN, Yu et al. 2017, algorithm 1; nearly every text GAN since).

Pretraining is part of the run's budget: one update is one step of it. Papers give its size in
epochs; either may be given, and they add up. G's optimiser enters the game without moments, as that
of the published codes, which have one for each: likelihood's gradients are ten times smaller, so
with its moments Adam's first steps of the game are as many times too large.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from core.config import Search, StrategyConfig
from core.types import Phase, Progress

Epochs = Annotated[float, Field(ge=0)]
Updates = Annotated[int, Field(ge=0)]


class Pretrain:
    """G learns by likelihood, D against what it then writes; the game begins behind both."""

    class Config(StrategyConfig):
        """Sizes of the two pretrainings, and the learning rate of G's (None: G's own)."""

        name: Literal["pretrain"] = "pretrain"
        generator_epochs: Epochs = 0.0  # of the training split, one batch an update
        generator_updates: Updates = 0
        generator_lr: Annotated[float, Field(gt=0, lt=1), Search(1e-4, 1e-1, log=True)] | None = (
            None
        )
        discriminator_epochs: Epochs = 0.0
        discriminator_updates: Updates = 0
        n_d: Annotated[int, Field(ge=1, le=1000), Search(1, 10)] = 1

    offers = frozenset({"adversarial"})
    needs: ClassVar[dict[str, str]] = {"sampling": "likelihood"}
    paper = "Yu et al. 2017"
    adversarial = True

    def __init__(self, config: Config) -> None:
        self.config = config

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """What this update belongs to."""
        config, epoch = self.config, progress.updates_per_epoch
        game = config.generator_updates + round(config.generator_epochs * epoch)
        if progress.update < game:
            return (Phase("generator", "likelihood", lr=config.generator_lr),)
        game += config.discriminator_updates + round(config.discriminator_epochs * epoch)
        if progress.update < game:
            return (Phase("discriminator", "adversarial"),)
        begins = progress.update == game
        return (
            Phase("discriminator", "adversarial", config.n_d),
            Phase("generator", "adversarial", reset_optimiser=begins),
        )
