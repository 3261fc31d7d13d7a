"""Spectral normalisation: every weight divided by its largest singular value, found by one step
of power iteration a use (Miyato et al. 2018).

A convolution's weight is taken as the matrix (filters, inputs x kernel), a recurrent layer's as the
two matrices of all its gates.
"""

from __future__ import annotations

from typing import TypeVar

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

M = TypeVar("M", bound=nn.Module)
WEIGHTS = ("weight", "weight_ih_l0", "weight_hh_l0")
SCALING = (nn.Linear, nn.Conv1d, nn.LSTM, nn.GRU)


def normalised(module: M) -> M:
    """The same module with all its linear, convolutional and recurrent weights normalised."""
    for part in list(module.modules()):
        if isinstance(part, SCALING):
            for name in WEIGHTS:
                if hasattr(part, name):
                    spectral_norm(part, name)
    return module
