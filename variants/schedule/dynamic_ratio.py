"""The original's dynamic n: the player whose loss moves more is trained.

With r = |(L - L_prev) / L_prev| of either player's last two losses, D moves if r_d > Lambda r_g,
else G. Each player moves once at first, and again, so that both have two losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from core.config import Search, StrategyConfig
from core.types import Phase, Player, Progress

# A loss of exactly zero would make its relative change undefined.
TINY = 1e-12


class DynamicRatio:
    """One step of D or of G, whichever's loss is changing faster."""

    class Config(StrategyConfig):
        """Lambda, the weight on G's relative change."""

        name: Literal["dynamic_ratio"] = "dynamic_ratio"
        weight: Annotated[float, Field(gt=0), Search(0.1, 10, log=True)] = 1.0

    offers = frozenset({"adversarial"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "the original gan_textgen (dynamic_n)"
    adversarial = True

    def __init__(self, config: Config) -> None:
        self.weight = config.weight

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """Both players until both have two losses, then the faster one."""
        players: tuple[Player, ...] = ("discriminator", "generator")
        if any(len(progress.losses[player]) < 2 for player in players):
            return tuple(Phase(player, "adversarial") for player in players)
        r_d, r_g = (_relative_change(progress.losses[player]) for player in players)
        return (Phase(players[0] if r_d > self.weight * r_g else players[1], "adversarial"),)


def _relative_change(losses: Sequence[float]) -> float:
    previous, last = losses
    return abs(last - previous) / (abs(previous) + TINY)
