"""Freed memory stays with the process: blocks of one size are not faulted in again and again."""

from __future__ import annotations

import resource
import sys

import pytest
import torch

from core.allocator import keep_freed_memory


def test_a_freed_tensor_costs_no_page_faults_the_second_time() -> None:
    if not keep_freed_memory():
        pytest.skip(f"{sys.platform}: no mallopt here")
    pages = 16 * 2**20 // resource.getpagesize()
    torch.ones(4 * 2**20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(4 * 2**20)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < 2 * pages
