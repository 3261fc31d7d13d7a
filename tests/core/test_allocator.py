"""Freed memory stays with the process: blocks of one size are not faulted in again and again."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pytest
import torch

from core.process import MAX_HEAP_BLOCK, keep_freed_memory


def test_a_freed_tensor_costs_no_page_faults_the_second_time() -> None:
    if not keep_freed_memory():
        pytest.skip(f"{sys.platform}: no mallopt here")
    pages = 16 * 2**20 // resource.getpagesize()
    for _ in range(30):  # until small blocks, which take pieces of a freed one, have their places
        torch.ones(4 * 2**20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(4 * 2**20)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < 2 * pages


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_tensors_between_small_ones_do_not_add_up() -> None:
    if not keep_freed_memory():
        pytest.skip("no mallopt here")
    size = MAX_HEAP_BLOCK // 4 + 2**20  # float32 numbers
    before, small = own_pages(), []
    for _ in range(10):
        torch.ones(size)
        small.append(torch.ones(100))  # what a step keeps
    assert own_pages() - before < 2 * 4 * size


def own_pages() -> int:
    """Bytes of this process's own memory."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024
