"""Attention of two streams is masked attention over all pairs of rows."""

from __future__ import annotations

import pytest
import torch

from core.nn.layers import Attention, two_streams

S = 7


@pytest.mark.parametrize("rows", [slice(None), slice(-S, None)])
def test_two_streams_are_a_mask_over_all_rows(rows: slice) -> None:
    torch.manual_seed(0)
    attention = Attention(12, 3)
    x = torch.randn(4, 2 * S - 1, 12, requires_grad=True)
    position = torch.tensor([*range(S - 1), *range(S)])
    is_token = torch.arange(2 * S - 1) < S - 1
    mask = (position[:, None] > position) & is_token | torch.eye(2 * S - 1, dtype=torch.bool)
    memory = attention.key_value(x)

    expected = attention(x[:, rows], memory, mask[rows])
    got = attention(x[:, rows], memory, two_streams(S, x.device, x.dtype).of(rows))

    torch.testing.assert_close(got, expected)
    weights = torch.randn_like(expected)
    of_expected, of_got = (
        torch.autograd.grad((y * weights).sum(), x, retain_graph=True) for y in (expected, got)
    )
    torch.testing.assert_close(of_got, of_expected)
