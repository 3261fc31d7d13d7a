"""What is measured: the original's sizes (N 64, S 64, E 64, V 4,600, hidden 512; M 8, B 6, O 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.config import Config, parse
from core.training.players import Players, build
from core.training.state import TrainingState
from core.types import Phase
from experiments import load
from variants import registry

CPU = torch.device("cpu")
N_D = 5  # D steps of an iteration


def generator_phase() -> Phase:
    """One step of G."""
    return Phase("generator", "adversarial")


def discriminator_phase(count: int) -> Phase:
    """`count` steps of D."""
    return Phase("discriminator", "adversarial", count)


@dataclass(frozen=True)
class Setting:
    """One size of the problem; `light` is the small discriminator (T 1, B 1, O 1)."""

    batch: int = 64
    length: int = 64
    vocabulary: int = 4600
    light: bool = False
    next_input: str = "noise"
    micro_batch: int | None = 16
    mask_after_eos: bool = False
    device: str = "cpu"
    precision: str = "float32"
    kernels: str = "auto"

    @property
    def place(self) -> torch.device:
        """Where it is measured."""
        return torch.device(self.device)

    def config(self, attention: str = "causal") -> Config:
        """The original's system at this size."""
        tables: dict[str, Any] = load("gan_textgen").tables() | {"kernels": self.kernels}
        tables["precision"] = self.precision
        tables["model"] |= {"length": self.length, "mask_after_eos": self.mask_after_eos}
        tables["generator"] |= {"attention": attention}
        tables["next_input"] = {"name": self.next_input}
        tables["train"] |= {"batch_size": self.batch, "micro_batch": self.micro_batch}
        if self.light:
            tables["discriminator"] |= {
                "layers_per_block": 1, "backbone_blocks": 1, "output_blocks": 1,
            }  # fmt: skip
        if self.micro_batch is None:
            del tables["train"]["micro_batch"]
        return parse(tables, registry(), "benchmark")

    def players(self, attention: str = "causal") -> Players:
        """Both players with fresh weights."""
        return build(self.config(attention), registry(), self.vocabulary, self.place)

    def state(self) -> TrainingState:
        """The state of a run on random sentences."""
        return TrainingState(self.config(), self.players(), Sentences(self), self.place)  # type: ignore[arg-type]

    def real(self) -> Tensor:
        """One batch of random sentences (N, S)."""
        return Sentences(self).batch(0).to(self.place)


@dataclass(frozen=True)
class Sentences:
    """Batches of random sentences of a setting's size."""

    setting: Setting
    per_epoch: int = 1
    sentences: int = 1

    def batch(self, number: int) -> Tensor:
        """Batch `number`, int64 (N, S)."""
        rng = torch.Generator().manual_seed(number)
        shape = (self.setting.batch, self.setting.length)
        return torch.randint(4, self.setting.vocabulary, shape, generator=rng)
