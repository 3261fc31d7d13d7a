"""Checkpoints: one safetensors file with everything that a run needs to go on as if never stopped.

Weights, optimiser moments and random states are tensors; counters, losses and the configuration's
fingerprint are JSON in the file's header. A checkpoint is written under another name, synced and
renamed, so that a file that exists is whole; the one before it is kept. No pickle anywhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from core.errors import MachineError
from core.files import check_fits_in_memory

FORMAT = 1
log = logging.getLogger(__name__)


@dataclass
class Counters:
    """Where a run stands."""

    update: int = 0  # updates done
    batches: int = 0  # batches of real sentences read
    seconds: float = 0.0  # of updates, since its first start; with several ranks by that of rank 0
    pretraining: tuple[int, float] = (0, 0.0)  # updates and seconds before adversarial training
    evaluating: float = 0.0  # seconds of evaluations, which are in no budget
    losses: dict[str, list[float]] = field(
        default_factory=lambda: {"generator": [], "discriminator": []}
    )  # the last two of each player
    samples: list[tuple[int, int, str]] = field(default_factory=list)  # step, row, sentence
    evaluation: dict[str, float | None] = field(default_factory=dict)  # the last one
    collapsed: int = 0  # evaluations with a collapsed sample, up to the last one
    collapse: str = ""  # why the sample of the last evaluation has collapsed, or empty
    rollbacks: int = 0  # how often the run went back to a checkpoint with smaller rates
    best: tuple[int, float] | None = None  # update and value of the best evaluation so far
    stop: tuple[int, float] | None = None  # the same of the one that `train.stop` keeps
    waited: int = 0  # evaluations since without an improvement, at most the patience


COUNTERS = TypeAdapter(Counters)


@dataclass(frozen=True)
class Checkpoint:
    """A state as read from disk: tensors by dotted name, and the counters."""

    tensors: dict[str, Tensor]
    counters: Counters

    def group(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under `prefix.`, without it."""
        cut = len(prefix) + 1
        return {k[cut:]: v for k, v in self.tensors.items() if k.startswith(f"{prefix}.")}


def optimiser_tensors(name: str, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's moments under `optimiser.name.index.`; its settings come from the config."""
    return {
        f"optimiser.{name}.{index}.{key}": torch.as_tensor(value)
        for index, moments in optimiser.state_dict()["state"].items()
        for key, value in moments.items()
    }


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give an optimiser its moments back; `tensors` as `Checkpoint.group` gives them."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, moment = key.partition(".")
        state.setdefault(int(index), {})[moment] = value
    whole = optimiser.state_dict()
    optimiser.load_state_dict({"state": state, "param_groups": whole["param_groups"]})


def write(
    path: Path, tensors: dict[str, Tensor], counters: Counters, *, keep_previous: bool = True
) -> None:
    """Write a checkpoint whole or not at all. The one before it stays as `.previous`, or is
    replaced.
    """
    plain = {key: value.detach().to("cpu").contiguous() for key, value in tensors.items()}
    header = {"format": str(FORMAT), "counters": json.dumps(asdict(counters))}
    data = save(plain, header)
    checksum = hashlib.sha256(data).hexdigest()
    temporary = path.with_suffix(".writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.write(checksum.encode())
            file.flush()
            os.fsync(file.fileno())
        if keep_previous and path.exists():
            path.replace(path.with_suffix(".previous"))
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise MachineError(f"{path}: the checkpoint cannot be written ({error.strerror})") from None


def keep(path: Path, kept: Path) -> None:
    """Hard-link the checkpoint at `path` to `kept`, or copy it if the file system has no links."""
    temporary = kept.with_suffix(".writing")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        try:
            temporary.hardlink_to(path)
        except OSError:
            shutil.copyfile(path, temporary)
        temporary.replace(kept)
        _sync_folder(kept.parent)
    except OSError as error:
        raise MachineError(f"{kept}: the checkpoint cannot be kept ({error.strerror})") from None


def _sync_folder(folder: Path) -> None:
    """A rename is on disk when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(path: Path) -> Checkpoint | None:
    """The newest whole checkpoint at `path` or beside it, None where there is none.

    A damaged newest one gives way to the previous; MachineError when that is damaged too.
    """
    damaged: list[str] = []
    for candidate in (path, path.with_suffix(".previous")):
        if not candidate.exists():
            continue
        checkpoint = _read_whole(candidate)
        if checkpoint is not None:
            if damaged:
                log.warning("%s is damaged; going on from the one before it", path)
            return checkpoint
        damaged.append(candidate.name)
    if damaged:
        raise MachineError(
            f"{path.parent}: no checkpoint can be read, {' and '.join(damaged)} damaged; remove "
            f"them to start the run anew"
        )
    return None


DIGEST = 64  # hexadecimal characters of SHA-256 after the tensors
SIZE = 8  # bytes of the header's length, at the beginning of a safetensors file


def _read_whole(path: Path) -> Checkpoint | None:
    """None for a file that is not what `write` wrote; MachineError for another format."""
    check_fits_in_memory(path)
    content = path.read_bytes()
    data, checksum = content[:-DIGEST], content[-DIGEST:]
    if hashlib.sha256(data).hexdigest().encode() != checksum:
        return None
    try:
        header = _metadata(data)
        if header["format"] != str(FORMAT):
            raise MachineError(
                f"{path}: checkpoint format {header['format']}, this version reads {FORMAT}"
            )
        return Checkpoint(load(data), COUNTERS.validate_json(header["counters"]))
    except (SafetensorError, ValueError, KeyError, TypeError):
        return None


def _metadata(data: bytes) -> dict[str, Any]:
    """The header's `__metadata__`. Its length is compared with the file's before it is parsed."""
    length = int.from_bytes(data[:SIZE], "little")
    if length > len(data) - SIZE:
        raise ValueError("the header is longer than the file")
    return json.loads(data[SIZE : SIZE + length])["__metadata__"]
