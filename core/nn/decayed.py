"""A linear layer that is kept small by itself.

    lambda / 2 (|W|^2 + |b|^2) in the loss of its player, whose gradient lambda W goes through Adam
    with the rest (`weight_decay` of torch's Adam).

SeqGAN's code has it on D's last layer alone, lambda .2 (Yu et al. 2017): D's scores stay near zero
where it is sure, so that their sigma still tells one sentence from another.
"""

from __future__ import annotations

from torch import nn


class DecayedLinear(nn.Linear):
    """A linear layer that says how strongly it is kept small."""

    def __init__(self, inputs: int, outputs: int, decay: float) -> None:
        super().__init__(inputs, outputs)
        self.decay = decay


def decays(module: nn.Module) -> dict[nn.Parameter, float]:
    """The parameters that have a decay of their own, and it."""
    layers = [each for each in module.modules() if isinstance(each, DecayedLinear)]
    return {parameter: each.decay for each in layers for parameter in each.parameters()}
