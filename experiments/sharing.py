"""A run that `torchrun` has started in several processes: what can be shared, and who writes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from core.config import Config
from core.errors import InputError
from core.shares import Share
from core.tracking.memory import MemoryTracker
from core.tracking.protocol import RunTracker
from variants import registry

T = TypeVar("T")


def check_shareable(config: Config, share: Share) -> None:
    """InputError for a run that cannot be cut into so many equal shares."""
    N, count = config.train.batch_size, share.count
    if count == 1:
        return
    began = f"torchrun has started {count} processes"
    if config.system is not None:
        raise InputError(
            f"{began}, but system.name = {config.system.name!r} is a whole system, which trains in "
            f"one; start it without torchrun"
        )
    for slot in ("estimator", "objective"):
        chosen = getattr(config, slot)
        if chosen and "mean_over_sentences" not in registry().strategy(slot, chosen.name).offers:
            raise InputError(
                f"{began}, but {slot}.name = {chosen.name!r} compares all sentences of a batch, "
                f"which has to be in one; start it without torchrun"
            )
    for slot in ("generator", "discriminator"):
        if getattr(getattr(config, slot), "dropout", 0):
            raise InputError(f"{began}, but {slot}.dropout is drawn in one; set it to 0")
    if getattr(config.discriminator, "spectral_norm", False):
        raise InputError(
            f"{began}, but discriminator.spectral_norm goes on with every pass, of which each has "
            f"fewer; set it to false"
        )
    if config.train.instance_noise:
        raise InputError(f"{began}, but train.instance_noise is drawn in one; set it to 0")
    if getattr(config.generator, "attention", None) == "full":
        raise InputError(f"{began}, but generator.attention = 'full' redraws its noise in one")
    parts = N // (config.train.micro_batch or N) if config.discriminator else N
    if parts % count:
        raise InputError(
            f"{began}; each takes an equal share of the micro-batches, so train.batch_size / "
            f"train.micro_batch must be a multiple of {count} (now {N} / "
            f"{config.train.micro_batch or N}); set train.micro_batch to {max(1, N // count)} or a "
            f"part of it"
        )


def leader_first(share: Share, act: Callable[[], T]) -> T:
    """What all do, the leader before the others: they find done what it has written."""
    if share.leads:
        done = act()
        share.meet()
        return done
    share.meet()
    return act()


def unheard() -> RunTracker:
    """The record of a process that does not lead: kept in memory, and read by nobody."""
    folder = Path(tempfile.mkdtemp(prefix="textgan-share-"))
    return MemoryTracker(folder).start_run("share", "share", params={}, tags={})
