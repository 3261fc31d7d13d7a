"""Which runs can be trained as one stack (`core.stacked_steps`), and what stands in the way.

A setting under which a run has to be alone carries an `Alone` beside its field, a strategy's too.
"""

from __future__ import annotations

import hashlib
import json

from core.config import Config

STACKED = "stacked"  # tag of a run: how many were trained with it, itself included
# What may differ within a stack: none of it is read inside the common pass.
OWN_TABLES = ("name", "seed", "evaluation", "temperature", "schedule")
OWN_TRAIN = (
    "updates", "generator_lr", "discriminator_lr", "lr_decay", "beta1", "beta2", "clip",
    "discriminator_weight_decay", "max_loss", "rollback", "ema", "log_every", "checkpoint_every",
    "keep_every",
)  # fmt: skip


def shape_of(config: Config) -> str:
    """The same for runs that one stack may hold."""
    tables = {k: v for k, v in config.tables().items() if k not in OWN_TABLES}
    tables["train"] = {k: v for k, v in tables["train"].items() if k not in OWN_TRAIN}
    return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()


def why_alone(config: Config) -> list[str]:
    """Stacked training was removed."""
    return ["training several runs as one program was removed"]
