"""Losses of D that several objectives share, on scores as log-odds of being real."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from core.config import Search
from core.types import Scores

# One-sided: D's label of real sentences is 1 - s, of drawn ones 0 (Salimans et al. 2016).
Smoothing = Annotated[float, Field(ge=0, lt=0.5), Search(0, 0.3)]


def cross_entropy(real: Scores, fake: Scores, smoothing: float) -> Tensor:
    """-(1 - s) log sigma(r) - s log sigma(-r) - log sigma(-f), that is sp(-r) + s r + sp(f)."""
    of_real = softplus(-real.values) + smoothing * real.values
    return real.mean(of_real) + fake.mean(softplus(fake.values))
