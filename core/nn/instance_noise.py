"""Instance noise: D sees real and drawn words through the same Gaussian noise in its embedding
space, so that the two overlap while G is still far off (Sonderby et al. 2017; Arjovsky & Bottou
2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.protocols import Discriminator
from core.sentences import Words


@dataclass(frozen=True)
class Blurred:
    """A discriminator that looks through noise of standard deviation sigma."""

    sharp: Discriminator
    sigma: float
    rng: torch.Generator

    @property
    def offers(self) -> frozenset[str]:
        """What the discriminator behind the noise offers."""
        return self.sharp.offers

    @property
    def embedding(self) -> Tensor:
        """Its first layer, in front of the noise."""
        return self.sharp.embedding

    def score(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """See `Discriminator.score`."""
        return self.sharp.score(self._blur(embedded), mask)

    def features(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Of discriminators that offer them."""
        result: Tensor = self.sharp.features(self._blur(embedded), mask)  # type: ignore[attr-defined]
        return result

    def __call__(self, words: Words) -> Tensor:
        """See `Discriminator.__call__`."""
        return self.score(words.embed(self.embedding), words.mask)

    def _blur(self, embedded: Tensor) -> Tensor:
        noise = torch.empty_like(embedded, requires_grad=False).normal_(generator=self.rng)
        return embedded + self.sigma * noise
