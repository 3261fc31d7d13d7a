"""Dropout, spectral normalisation and weight decay of single layers."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

SEEDS = 2**62
M = TypeVar("M", bound=nn.Module)
SCALED_LAYERS = (nn.Linear, nn.Conv1d, nn.LSTM, nn.GRU)
SCALED_WEIGHTS = ("weight", "weight_ih_l0", "weight_hh_l0")


class Dropout(nn.Module):
    """Zeroes each number with probability `rate` in training and divides the rest by 1 - rate.

    torch's dropout draws from the process's global generator, which no checkpoint keeps and every
    other draw advances. Here the mask of the k-th use is a function of (seed, k), and both are kept
    with the weights, so that a seed reproduces and a run resumes.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        # From the stream that the initial weights come from.
        self._seed, self._used = int(torch.randint(SEEDS, (), device="cpu").item()), 0

    def forward(self, x: Tensor) -> Tensor:
        """X of any shape."""
        if not self.training or self.rate == 0:
            return x
        rng = torch.Generator(device=x.device).manual_seed(self._seed + self._used)
        self._used += 1
        keep = 1 - self.rate
        return x * torch.empty_like(x, requires_grad=False).bernoulli_(keep, generator=rng) / keep

    def get_extra_state(self) -> Tensor:
        """Seed and uses so far, int64 (2,); on the CPU wherever the weights are."""
        return torch.tensor([self._seed, self._used])

    def set_extra_state(self, state: Tensor) -> None:
        """Continue where `state` was taken."""
        self._seed, self._used = (int(number) for number in state.tolist())


def spectrally_normalised(module: M) -> M:
    """The same module with all its linear, convolutional and recurrent weights divided by their
    largest singular value, found by one step of power iteration a use (Miyato et al. 2018). A
    convolution's weight is the matrix (filters, inputs x kernel), a recurrent layer's the two
    matrices of all its gates.
    """
    for part in list(module.modules()):
        if isinstance(part, SCALED_LAYERS):
            for name in SCALED_WEIGHTS:
                if hasattr(part, name):
                    spectral_norm(part, name)
    return module


class DecayedLinear(nn.Linear):
    """A linear layer with an L2 penalty of its own, decay / 2 (|W|^2 + |b|^2) in the loss of its
    player, through Adam's `weight_decay`.

    SeqGAN's code has it on D's last layer alone, decay .2 (Yu et al. 2017): D's scores stay near
    zero where it is sure, so that their sigma still tells one sentence from another.
    """

    def __init__(self, inputs: int, outputs: int, decay: float) -> None:
        super().__init__(inputs, outputs)
        self.decay = decay


def weight_decays(module: nn.Module) -> dict[nn.Parameter, float]:
    """The parameters that have a weight decay of their own, and its value."""
    layers = [each for each in module.modules() if isinstance(each, DecayedLinear)]
    return {parameter: each.decay for each in layers for parameter in each.parameters()}
