"""Sentences of earlier generators that D sees again, so that it does not forget them.

Half of the generated sentences of each step of D come from a buffer, and as many of the new ones
take random places in it (Shrivastava et al. 2017, section 2.3). Until the buffer is full they are
added to it; until it holds half a batch all sentences are new.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from core.errors import InputError
from core.nn.discriminator_input import HardTokens
from core.types import PAD, visible


class Replay:
    """A buffer of at most `size` sentences of S tokens, for batches of N."""

    def __init__(self, size: int, batch_size: int, length: int, device: torch.device) -> None:
        self.half = batch_size // 2
        if size < self.half:
            raise InputError(
                f"train.replay = {size} must be at least {self.half}, half the sentences that a "
                f"process draws"
            )
        self.size = size
        self.tokens = torch.empty(0, length, dtype=torch.long, device=device)  # (held, S)

    def exchange(self, fake: HardTokens, rng: torch.Generator) -> HardTokens:
        """The generated sentences (N, S) with half of them replaced by earlier ones; the others are
        remembered.
        """
        held, half, steps = len(self.tokens), self.half, fake.tokens.shape[1]
        new = pad(fake.tokens[half:], (0, self.tokens.shape[1] - steps), value=PAD)
        seen = fake
        if held >= half:
            old = self.tokens[self._some(held, rng)[:half], :steps]
            tokens = torch.cat([old, fake.tokens[half:]])
            seen = HardTokens(tokens, None if fake.mask is None else visible(tokens))
        room = self.size - held
        if room:
            self.tokens = torch.cat([self.tokens, new[:room]])
        else:
            places = self._some(held, rng)[: len(new)]
            self.tokens = self.tokens.index_copy(0, places, new[: len(places)])
        return seen

    @staticmethod
    def _some(count: int, rng: torch.Generator) -> Tensor:
        return torch.randperm(count, generator=rng, device=rng.device)
