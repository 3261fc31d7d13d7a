"""Who moves when, and on which loss: what a schedule tells the loop; what a loss may ask of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from core.rollout import Drawing

Player = Literal["generator", "discriminator"]
Loss = Literal["adversarial", "likelihood"]


@dataclass(frozen=True)
class Phase:
    """`repeats` steps of one player on one loss; a whole system brings players and losses."""

    player: str  # a `Player`, or one of a system's
    loss: Loss | OwnLoss
    repeats: int = 1
    rate: float | None = None  # learning rate of these steps; None: the player's own
    anew: bool = False  # the player's optimiser forgets its moments before these steps


@dataclass(frozen=True)
class Progress:
    """What a schedule may look at: the update about to run and the last losses of each player."""

    update: int
    losses: Mapping[str, Sequence[float]]  # player -> its last two losses, oldest first
    epoch: int = 1  # updates that read the training split once, one batch each


@dataclass(frozen=True)
class Stage:
    """What a loss that a system brings may ask of the run."""

    size: int  # N
    device: torch.device
    drawing: Drawing
    next_real: Callable[[], Tensor]  # the next real sentences (N, S), every call others
    rng: Callable[[str], torch.Generator]  # a stream of the run by its name
    values: dict[str, float]  # "train/...", logged
    sentences: int  # in the training split


OwnLoss = Callable[[Stage], Tensor]  # to a scalar
