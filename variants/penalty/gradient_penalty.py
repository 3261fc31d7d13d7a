"""Gradient penalty: weight * E (||grad_x D(x)|| - 1)^2 at x = eps real + (1 - eps) fake, with one
eps per sentence (Gulrajani et al. 2017).

x interpolates one-hot sentences, (N, S, V), but is never built: D's first layer W (V, E) is linear,
so its input is the interpolate of embedded sentences. If D scores steps or representations, D(x) is
their mean, as in its loss.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from core.config import Search, StrategyConfig
from core.interfaces import Discriminator, Strategy
from core.training.scoring import squared_grad_norm
from core.types import Embedded

EPSILON = 1e-12  # keeps the square root differentiable where D is flat


class GradientPenalty(Strategy):
    """WGAN-GP: D's gradient norm between real and generated sentences should be 1."""

    class Config(StrategyConfig):
        """The weight, lambda in the paper."""

        weight: Annotated[float, Field(gt=0), Search(0.1, 100, log=True)] = 10.0

    needs = {"discriminator": "embedded_tokens"}
    paper = "Gulrajani et al. 2017"

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """One eps per sentence, (N, 1, 1)."""
        return torch.rand(count, 1, 1, generator=rng, device=rng.device)

    def __call__(
        self, discriminator: Discriminator, real: Embedded, fake: Embedded, drawn: Tensor | None
    ) -> Tensor:
        """The weighted penalty, a scalar with gradient with respect to D."""
        a, b = real.values, fake.values  # (N, S, E) each
        assert drawn is not None
        eps = drawn.to(a.dtype)
        x = eps * a + (1 - eps) * b
        mask = real.mask if fake.mask is None or real.mask is None else real.mask | fake.mask
        squared = squared_grad_norm(discriminator, Embedded(x, mask), at_tokens=True, mean=True)
        norm = (squared + EPSILON).sqrt()
        return self.config.weight * ((norm - 1) ** 2).mean()
