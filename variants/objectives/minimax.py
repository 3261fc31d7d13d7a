"""Minimax objective: D: E sp(-r) + E sp(f); G: -E sp(f), that is E log(1 - sigma(f))
(Goodfellow et al. 2014, equation 1).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import softplus

from core.config import StrategyConfig


class Minimax:
    """Cross-entropy for D, its negative for G; saturates where D is sure."""

    class Config(StrategyConfig):
        """No settings."""

        name: Literal["minimax"] = "minimax"

    offers = frozenset({"scores", "mean_over_sentences"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "Goodfellow et al. 2014"

    def __init__(self, config: Config) -> None:
        pass

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """E sp(-r) + E sp(f)."""
        return softplus(-real).mean() + softplus(fake).mean()

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """-E sp(f)."""
        return -softplus(fake).mean()
