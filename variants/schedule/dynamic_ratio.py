"""The original's dynamic n: train the player whose loss changes more.

With r = |(L - L_prev) / L_prev| of each player's last two losses, D is trained if
r_d > Lambda r_g, else G. Both are trained until both have two losses.
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from core.config import Search, StrategyConfig
from core.interfaces import Strategy
from core.types import Phase, Progress

EPSILON = 1e-12  # a loss of exactly zero has no relative change


class DynamicRatio(Strategy):
    """One step per update, of the player whose loss changes faster."""

    class Config(StrategyConfig):
        """Lambda, the weight on G's relative change."""

        weight: Annotated[float, Field(gt=0), Search(0.1, 10, log=True)] = 1.0

    paper = "the original gan_textgen (dynamic_n)"
    adversarial = True

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """Both players until both have two losses, then one."""
        players = ("discriminator", "generator")
        if any(len(progress.losses[player]) < 2 for player in players):
            return tuple(Phase(player, "adversarial") for player in players)
        r_d, r_g = (_relative_change(progress.losses[player]) for player in players)
        return (Phase(players[0] if r_d > self.config.weight * r_g else players[1], "adversarial"),)


def _relative_change(losses: Sequence[float]) -> float:
    previous, last = losses
    return abs(last - previous) / (abs(previous) + EPSILON)
