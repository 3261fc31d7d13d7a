"""Spectral penalty: lambda / 2 sum_W sigma(W)^2 + mu / 2 mean_w max(0, ||e_w||^2 - m^2).

sigma is the largest singular value (of a convolution's weight as the matrix (filters, inputs x
kernel), found by power iteration), W is every weight of D after its first layer, and e_w are the
rows of that layer (Yoshida & Miyato 2017; TaylorGAN, Lin et al. 2020).
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from core.config import Search, StrategyConfig
from core.interfaces import Discriminator, Strategy
from core.training.players import as_module
from core.types import Embedded

STEPS = 20  # of power iteration
Weight = Annotated[float, Field(ge=0), Search(0.01, 1, log=True)]


class Spectral(Strategy):
    """Penalty on the spectral norms of D's weights and on the norms of its embeddings."""

    class Config(StrategyConfig):
        """Lambda, mu and m, the authors' values."""

        weight: Weight = 0.07
        embedding: Weight = 0.2
        max_norm: Annotated[float, Field(ge=0)] = 1.0

    paper = "Yoshida & Miyato 2017; Lin et al. 2020"

    def draw(self, count: int, rng: torch.Generator) -> None:
        """No random numbers."""

    def __call__(
        self, discriminator: Discriminator, real: Embedded, fake: Embedded, drawn: Tensor | None
    ) -> Tensor:
        """The weighted penalty, a scalar."""
        config, table = self.config, discriminator.embedding
        weights = [W for W in as_module(discriminator).parameters() if W.dim() > 1]
        sigmas = torch.stack([largest_singular_value(W) for W in weights if W is not table])
        beyond = (table.square().sum(1) - config.max_norm**2).clamp(min=0)
        return (config.weight * sigmas.square().sum() + config.embedding * beyond.mean()) / 2


def largest_singular_value(weight: Tensor) -> Tensor:
    """Sigma of a weight (A, ...) as a matrix (A, B), a scalar with gradient."""
    W = weight.flatten(1)
    with torch.no_grad():
        v = W[0]
        for _ in range(STEPS):
            v = torch.nn.functional.normalize(W.T @ (W @ v), dim=0)
    return torch.linalg.vector_norm(W @ v)
