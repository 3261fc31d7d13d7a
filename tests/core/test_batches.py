"""Batches on their way to a device."""

from __future__ import annotations

import pytest
import torch

from core.training.batches import to_device

BATCH = torch.arange(12).view(3, 4)


def test_a_batch_for_the_processor_stays_where_it_is() -> None:
    assert to_device(BATCH, torch.device("cpu")) is BATCH


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU to move a batch to")
def test_a_batch_arrives_whole_on_a_gpu() -> None:
    there = [to_device(BATCH + n, torch.device("cuda")) for n in range(100)]
    for n, batch in enumerate(there):
        assert batch.device.type == "cuda"
        assert torch.equal(batch.cpu(), BATCH + n)
