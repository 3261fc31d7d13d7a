"""The game, with a step of likelihood every k updates to keep G where the language is (LeakGAN,
Guo et al. 2018, section "Training Techniques").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from core.config import Search, StrategyConfig
from core.types import Phase, Progress


class Interleaved:
    """n_D : 1, and one step of likelihood in every k-th update."""

    class Config(StrategyConfig):
        """How often, at which learning rate (None: G's own), and D's steps for one of G's."""

        name: Literal["interleaved"] = "interleaved"
        every: Annotated[int, Field(ge=1), Search(1, 50, log=True)] = 10
        likelihood_lr: Annotated[float, Field(gt=0, lt=1), Search(1e-5, 1e-2, log=True)] | None = (
            None
        )
        n_d: Annotated[int, Field(ge=1, le=1000), Search(1, 10)] = 1

    offers = frozenset({"adversarial"})
    needs: ClassVar[dict[str, str]] = {"sampling": "likelihood"}
    paper = "Guo et al. 2018"
    adversarial = True

    def __init__(self, config: Config) -> None:
        self.every = config.every
        self._game = (
            Phase("discriminator", "adversarial", config.n_d),
            Phase("generator", "adversarial"),
        )
        self._likelihood = Phase("generator", "likelihood", lr=config.likelihood_lr)

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """The game; likelihood before it in updates 0, k, 2k and so on."""
        if progress.update % self.every == 0:
            return (self._likelihood, *self._game)
        return self._game
