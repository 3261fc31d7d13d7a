"""Which runs can be trained as one stack (`core.stacked_steps`), and what stands in the way.

A setting under which a run has to be alone carries an `Alone` beside its field, a strategy's too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from pydantic import BaseModel

from core.config import Alone, Config
from core.slots import FOLDERS, SYSTEM

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
    """A sentence for each setting that keeps a run out of a stack; none if it can be in one."""
    if config.system is not None:
        name = config.system.name
        return [f"{SYSTEM}.name = {name!r}: a whole system's losses are known to itself alone"]
    slots = {f"{slot}.": getattr(config, slot) for slot in FOLDERS}
    tables: dict[str, BaseModel | None] = {"": config, "train.": config.train, **slots}
    return [
        f"{where}{key} = {json.dumps(value)}: {rule.why}"
        for where, table in tables.items()
        if table is not None
        for key, value, rule in _rules(table)
        if value != rule.unless
    ]


def _rules(table: BaseModel) -> Iterator[tuple[str, object, Alone]]:
    for key, field in type(table).model_fields.items():
        for rule in field.metadata:
            if isinstance(rule, Alone):
                yield key, getattr(table, key), rule
