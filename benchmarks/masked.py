"""Tokens behind the end hidden: sentences sorted by length and trimmed, against our own evaluation
of the whole length. Lengths are those of captions, of real sentences and of drawn ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

import core.nn.discriminator_input
import core.training.rollout
from benchmarks.captions import lengths
from benchmarks.measure import show, times
from benchmarks.sizes import CPU, N_D, Sentences, Setting, discriminator_phase, generator_phase
from core.training.loop import train_phase
from core.training.state import TrainingState
from core.types import END, PAD
from variants.discriminator.transformer import TransformerDiscriminator


def masked(setting: Setting, repeats: int, plain_repeats: int) -> None:
    """`discriminator_masked` and `iteration_masked`."""
    steps = masked_steps(setting)

    def step(phase: Any) -> None:
        train_phase(steps, phase)

    def both(count: int) -> Any:
        d = times(lambda: step(discriminator_phase(N_D)), count).over(N_D)
        return d, times(lambda: step(generator_phase()), count).plus(d, N_D)

    fast = both(repeats)
    with whole_length():
        plain = both(plain_repeats)
    unit = "seconds, caption lengths, against our own full-length masked evaluation"
    show("discriminator_masked", fast[0], plain[0], unit)
    show("iteration_masked", fast[1], plain[1], f"{unit}; {N_D} D + 1 G")


def masked_steps(setting: Setting) -> TrainingState:
    """The steps of a run whose sentences, real and drawn, have caption lengths."""
    setting = replace(setting, mask_after_eos=True)
    players = setting.players()
    players = replace(players, sampling=Ending(players.sampling))  # type: ignore[arg-type]
    return TrainingState(setting.config(), players, Captions(setting), CPU)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Captions:
    """Random sentences of caption lengths."""

    setting: Setting
    per_epoch: int = 1

    def batch(self, number: int) -> Tensor:
        """Batch `number`, int64 (N, S): words, the end, padding."""
        tokens = Sentences(self.setting).batch(number)
        return ended(tokens, _lengths(len(tokens)))


def ended(tokens: Tensor, at: Tensor) -> Tensor:
    """Tokens (N, S) with the end as each sentence's last word and padding behind it."""
    place = torch.arange(tokens.shape[1])
    tokens = torch.where(place == at[:, None] - 1, END, tokens)
    return torch.where(place >= at[:, None], PAD, tokens)


class Ending:
    """A sampling whose sentences have caption lengths, whatever the generator thinks."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def select(self, logits: Tensor, step: int, seeds: Any, temperature: float) -> Tensor:
        """The words of one step (N,)."""
        words = self.inner.select(logits, step, seeds, temperature)
        return torch.where(_lengths(len(words)) - 1 <= step, END, words)


def _lengths(count: int) -> Tensor:
    return torch.from_numpy(lengths(count, "captions"))


@contextmanager
def whole_length() -> Iterator[None]:
    """Nothing is cut off, nothing stops early: what is hidden is computed and masked out."""
    offers = TransformerDiscriminator.offers - {"trimming"}

    def all_of(mask: Tensor | None, length: int) -> int:
        return length

    with (
        patch.object(TransformerDiscriminator, "offers", offers),
        patch.object(core.training.rollout, "longest", all_of),
        patch.object(core.nn.discriminator_input, "longest", all_of),
        patch.object(core.training.rollout, "CHECK_EVERY", 10**9),
    ):
        yield
