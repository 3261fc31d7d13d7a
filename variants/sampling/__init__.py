"""How a token is selected, what D sees of it, and what the next step is fed.

l are the logits (N, V) of a step, g Gumbel noise, tau the temperature.
"""

import torch
from torch import Tensor

from core.interfaces import Generator, Strategy
from core.kernels.torch import TORCH, Kernels
from core.nn.discriminator_input import TokenMixture
from core.nn.noise import gumbel_noise
from core.seeding import draw_seeds
from core.types import DiscriminatorInput, Seeds


class SampledTokens(Strategy):
    """Selects argmax(l + g), a draw from softmax(l) (Gumbel 1954), and feeds that token back."""

    kernels: Kernels = TORCH
    soft_feedback = False
    tempered = False  # whether the distribution for D is softmax((l + g) / tau), not softmax(l)

    def randomness(self, batches: int, rng: torch.Generator) -> Seeds:
        """The seeds of the Gumbel noise."""
        return draw_seeds(batches, rng)

    def select(self, logits: Tensor, step: int, seeds: Seeds, temperature: float) -> Tensor:
        """argmax(l + g): (N, V) to (N,)."""
        noise = gumbel_noise(self.kernels, seeds, step, logits)
        return logits.add_(noise).max(dim=-1).indices

    def feedback(
        self, generator: Generator, hidden: Tensor, step: int, seeds: Seeds, temperature: float
    ) -> Tensor:
        """With soft feedback: softmax((l + g) / tau) times the embedding, (N, E)."""
        drawn = (generator.head, seeds, temperature)
        mixed = TokenMixture(hidden[:, None], *drawn, start=step, kernels=self.kernels)
        return mixed.embed(generator.embedding.weight)[:, 0]

    def discriminator_input(
        self,
        generator: Generator,
        tokens: Tensor,
        hidden: Tensor,
        seeds: Seeds,
        temperature: float,
        mask: Tensor | None,
    ) -> DiscriminatorInput:
        """What D sees of tokens (N, S) drawn from hidden (N, S, E)."""
        relaxed = (seeds, temperature) if self.tempered else ((), 1.0)
        mixed = TokenMixture(hidden, generator.head, *relaxed, mask, kernels=self.kernels)
        return self.visible(tokens, mixed)

    def visible(self, tokens: Tensor, distributions: TokenMixture) -> DiscriminatorInput:
        """What D sees, given the tokens (N, S) and their distributions (N, S, V)."""
        return distributions
