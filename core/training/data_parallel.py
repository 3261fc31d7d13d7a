"""Data parallel training as torch defines it: `torchrun` starts one process for each rank.

Every rank holds the whole model and draws its own part of each batch. Gradients are averaged over
ranks before each optimiser step, so the weights stay equal. Rank 0 evaluates, records and saves.
With one process every function here is the identity. The session, the loop, the state and the
optimisation call them; the steps do not know about ranks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from core.errors import InputError

# The other ranks wait while rank 0 builds a corpus or evaluates; torchrun ends them if rank 0 dies.
TIMEOUT = timedelta(hours=6)
T = TypeVar("T")


def rank() -> int:
    """Number of this process, from 0; also before the process group is initialised."""
    return int(os.environ.get("RANK", "0")) if _started_by_torchrun() else 0


def world_size() -> int:
    """How many processes train this run."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this process evaluates, records and saves."""
    return rank() == 0


@contextmanager
def process_group(*, cuda: bool) -> Iterator[None]:
    """Join the processes that torchrun has started, if it has started several."""
    if not _started_by_torchrun():
        yield
        return
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if cuda else "gloo", timeout=TIMEOUT)
    try:
        yield
    finally:
        dist.destroy_process_group()


def local_batch_size(batch_size: int) -> int:
    """Sentences of a batch that each rank draws; InputError if the batch cannot be divided."""
    size, rest = divmod(batch_size, world_size())
    if rest:
        raise InputError(
            f"train.batch_size = {batch_size} must be a multiple of the {world_size()} processes "
            f"that torchrun has started"
        )
    return size


def main_first(act: Callable[[], T]) -> T:
    """Call `act` on rank 0 first, then on the others, which find the files that it has written."""
    if not is_main():
        dist.barrier()
    result = act()
    if is_main() and world_size() > 1:
        dist.barrier()
    return result


def broadcast(value: T) -> T:
    """Rank 0's value, on every rank; anything that pickle can hold."""
    if world_size() == 1:
        return value
    box: list[Any] = [value]
    dist.broadcast_object_list(box)
    return box[0]


def any_rank(flag: bool) -> bool:
    """Whether the flag is set on some rank."""
    return mean_over_ranks(float(flag)) > 0


def mean_over_ranks(value: float) -> float:
    """Mean of a number over ranks."""
    if world_size() == 1:
        return value
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    summed = torch.tensor([value], dtype=torch.float64, device=device)
    dist.all_reduce(summed)
    return float(summed) / world_size()


def average_gradients(module: nn.Module) -> None:
    """Replace each gradient by its mean over ranks."""
    if world_size() == 1:
        return
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    used = torch.tensor([weight.grad is not None for weight in weights], device=weights[0].device)
    counts = used.float()
    dist.all_reduce(counts)  # a weight that no rank has used keeps no gradient
    weights = [weight for weight, count in zip(weights, counts.tolist(), strict=True) if count]
    gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    means = torch.split(flat / world_size(), [weight.numel() for weight in weights])
    for weight, mean in zip(weights, means, strict=True):
        weight.grad = mean.view_as(weight)


def broadcast_buffers(modules: Iterable[nn.Module]) -> None:
    """Give every rank the buffers of rank 0, in place (spectral norms, moving baselines)."""
    if world_size() > 1:
        for module in modules:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)


def _started_by_torchrun() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1
