"""Settings of the running process, and the commands of child processes."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[1]
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MAX_HEAP_BLOCK = 2**25  # bytes; blocks up to this size come from the heap
MAX_FREE = 2**31 - 1  # bytes that may stay free at the top of the heap
NEW_OBJECTS = 10_000  # after which Python looks for garbage
_interrupts: list[int] = []  # signals that this process has received


def command(module: str, *arguments: str) -> list[str]:
    """Arguments that start a module of ours in `environment()`.

    Without `-P`, `python -m` searches the working directory first: a user's own `experiments/`
    would be taken for ours.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """The environment of this process with our packages first."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def usable_cores() -> int:
    """The cores that this process may use."""
    usable = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(usable(0)) if usable else os.cpu_count() or 1


def look_less_for_garbage() -> None:
    """By itself, Python looks after 700 new objects: a thousand times while a command imports what
    it needs, a tenth of its start.
    """
    gc.set_threshold(NEW_OBJECTS)


def hear_interrupts() -> None:
    """From now on SIGTERM interrupts like Ctrl-C, so that workers end too. Interrupts are
    remembered, because Python drops the exception in a finaliser or a callback of an import.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        # What a script starts in the background ignores Ctrl-C.
        if number == signal.SIGTERM or signal.getsignal(number) is signal.default_int_handler:
            signal.signal(number, _interrupt)


def _interrupt(number: int, _: object) -> NoReturn:
    _interrupts.append(number)
    raise KeyboardInterrupt


def check_interrupted() -> None:
    """KeyboardInterrupt if there was an interrupt. Called where work begins: whatever came before
    may have dropped the exception.
    """
    if _interrupts:
        raise KeyboardInterrupt


def keep_freed_memory() -> bool:
    """Make the C library keep the memory that tensors free; False if it is not glibc.

    glibc returns large freed blocks to the kernel at once, and the next tensor of that size faults
    its pages in again: up to a fifth of a training step's CPU time. Blocks above `MAX_HEAP_BLOCK`
    are still returned. If they were kept, the next small tensor would take a piece of a free block,
    the next large tensor would not fit in the rest, and the heap would grow by one block a step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    limits = ((M_MMAP_THRESHOLD, MAX_HEAP_BLOCK), (M_TRIM_THRESHOLD, MAX_FREE))
    return all(mallopt(name, limit) for name, limit in limits)


@contextmanager
def denormals_are_zero() -> Iterator[None]:
    """Flush float32 denormals (below 1.2e-38) to zero in this thread; also a decorator.

    Products of small probabilities and small gradients fall in that range. They contribute nothing,
    and Intel processors compute with them in microcode: a step of TaylorGAN took 4.5 times as long.
    """
    import torch  # not at the top: the command line imports this module before it needs torch

    if sys.float_info.min / 2 == 0:  # set already by somebody else
        yield
        return
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
