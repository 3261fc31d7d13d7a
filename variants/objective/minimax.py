"""Minimax objective: D: E sp(-r) + E sp(f); G: -E sp(f), that is E log(1 - sigma(f))
(Goodfellow et al. 2014, equation 1).

As a reward, -log(1 - sigma(f)) has no upper bound and nobody uses it; the published policy
gradients take the probability of being real itself.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import softplus

from core.config import StrategyConfig
from core.training.losses import Smoothing, cross_entropy
from core.types import Scores


class Minimax:
    """Cross-entropy for D, its negative for G; saturates where D is sure."""

    class Config(StrategyConfig):
        """How far D's label of real sentences stays below 1; what a sentence is worth to G."""

        name: Literal["minimax"] = "minimax"
        label_smoothing: Smoothing = 0.0
        # "signed": 2 sigma(f) - 1, ScratchGAN's. "probability": sigma(f), SeqGAN's: without a
        # baseline the sign of all rewards decides whether what was drawn grows likelier.
        reward: Literal["signed", "probability"] = "signed"

    offers = frozenset({"scores", "log_ratio", "mean_over_sentences"})
    needs: ClassVar[dict[str, str]] = {}
    paper = "Goodfellow et al. 2014"
    relativistic = False
    uses_features = False

    def __init__(self, config: Config) -> None:
        self.smoothing, self.signed = config.label_smoothing, config.reward == "signed"

    def discriminator(self, real: Scores, fake: Scores) -> Tensor:
        """E sp(-r) + E sp(f), real labels smoothed."""
        return cross_entropy(real, fake, self.smoothing)

    def generator(self, fake: Scores, real: Scores | None) -> Tensor:
        """-E sp(f)."""
        return -fake.mean(softplus(fake.values))

    def reward(self, fake: Scores, real: Scores | None) -> Tensor:
        """The probability of being real, or twice it less 1."""
        real_or_not = fake.values.sigmoid()
        return 2 * real_or_not - 1 if self.signed else real_or_not
