"""The compiled decoder: the functions of its vectors against their definitions, and its steps
against the blocks themselves, for sizes that fill no tile, panel or vector."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from numba import njit
from scipy.special import ndtr
from torch import Tensor

from core.kernels import numba_simd as simd
from core.kernels.cpu import CPU, CpuDecoder
from core.kernels.torch import TORCH, Decoder, DecoderStack, TorchDecoder
from core.nn.layers import Block, NoiseBlock

LANES = simd.LANES


def applied(function: Any, x: np.ndarray) -> np.ndarray:
    """A function of vectors, of every number of x (a whole number of vectors)."""

    @njit
    def walk(x: Any, y: Any) -> None:
        for i in range(0, x.size, LANES):
            simd.store(y.ctypes.data + 4 * i, function(simd.load(x.ctypes.data + 4 * i)))

    y = np.empty_like(x)
    walk(x, y)
    return y


def test_exp_is_exact_to_rounding() -> None:
    x = np.linspace(-87, 5, 4096 * LANES).astype(np.float32)
    exact = np.exp(x.astype(np.float64))
    assert np.abs(applied(simd.exp, x) / exact - 1).max() < 1.2e-7  # two units in the last place


def test_exp_of_less_than_its_least_is_nothing() -> None:
    x = np.full(LANES, -math.inf, np.float32)
    x[: LANES // 2] = np.nextafter(simd.LEAST, -math.inf, dtype=np.float32)
    assert not applied(simd.exp, x).any()


def test_gelu_is_exact_to_rounding() -> None:
    x = np.linspace(-12, 12, 4096 * LANES).astype(np.float32)
    wide = x.astype(np.float64)
    exact = wide * ndtr(wide)
    error = np.abs(applied(simd.gelu, x) - exact)
    assert (error <= 1.5e-7 * np.maximum(np.abs(exact), 1)).all()
    below = x < -1  # where x Phi(x) is small, and a sum of 1 and erf would have lost it
    assert (error[below] <= 5e-6 * np.abs(exact[below])).all()


@pytest.mark.parametrize("function", [simd.exp, simd.gelu])
def test_what_is_not_a_number_stays_none(function: Any) -> None:
    assert np.isnan(applied(function, np.full(LANES, math.nan, np.float32))).all()


def stack(E: int, H: int, mapped: int, N: int, streams: int, S: int) -> DecoderStack:
    """Two noise blocks and two others, with memories of `mapped` rows."""
    torch.manual_seed(0)
    noise_blocks = [NoiseBlock(E, 3 * E + 1, H) for _ in range(2)]
    output_blocks = [Block(E, 3 * E + 1, H) for _ in range(2)]
    memories: list[Any] = [None, None]
    if mapped:
        with torch.no_grad():
            rows = [torch.randn(N, mapped, E) for _ in noise_blocks]
            memories = [b.cross.key_value(x) for b, x in zip(noise_blocks, rows, strict=True)]
    injected = torch.randn(2, streams, N, S, E)
    return DecoderStack(noise_blocks, output_blocks, memories, injected, N, S)


@torch.no_grad()
def hidden(decoder: Decoder, rows: Tensor, streams: int, steps: range) -> list[Tensor]:
    """Hidden states of some steps; rows (streams, S, N, E), the last stream queries."""
    found = []
    for t in steps:
        new = [rows[-1, t]] if streams == 1 or t == 0 else [rows[0, t - 1], rows[1, t]]
        found.append(decoder.step(new, t + 1 - len(new)))
    return found


@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize(
    ("E", "H", "N", "mapped"),
    [(64, 8, 16, 20), (12, 2, 5, 0), (40, 5, 3, 7), (6, 6, 9, 17), (96, 3, 1, 0)],
)
def test_the_compiled_step_is_torchs(E: int, H: int, N: int, mapped: int, streams: int) -> None:
    S = 2 * LANES + 3
    parts = stack(E, H, mapped, N, streams, S)
    rows = torch.randn(streams, S, N, E)
    fused, plain = CPU.decoder(parts), TORCH.decoder(parts)
    assert isinstance(fused, CpuDecoder)
    for ours, theirs in zip(
        *(hidden(decoder, rows, streams, range(S)) for decoder in (fused, plain)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("streams", [1, 2])
def test_a_fork_goes_its_own_way_and_leaves_the_other(streams: int) -> None:
    N, S, E, half = 4, 20, 16, 9
    parts = stack(E, 4, 5, N, streams, S)
    rows = torch.randn(streams, S, N, E)
    whole = hidden(CPU.decoder(parts), rows, streams, range(S))
    of = torch.tensor([2, 0, 2, 3, 1, 1])
    first = CPU.decoder(parts)
    hidden(first, rows, streams, range(half))
    other = first.fork(of)
    hidden(other, torch.randn(streams, S, len(of), E), streams, range(half, half + 2))
    again = first.fork(of)
    found = hidden(again, rows[:, :, of], streams, range(half, S))
    rest = hidden(first, rows, streams, range(half, S))
    for a, b, c in zip(whole[half:], found, rest, strict=True):
        torch.testing.assert_close(b, a[of], rtol=0, atol=0)
        torch.testing.assert_close(c, a, rtol=0, atol=0)


def test_what_memory_held_before_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = stack(16, 4, 5, 3, 2, 20)
    rows = torch.randn(2, 20, 3, 16)
    before = hidden(CPU.decoder(parts), rows, 2, range(20))
    monkeypatch.setattr(np, "empty", lambda shape, kind: np.full(shape, math.nan, kind))
    after = hidden(CPU.decoder(parts), rows, 2, range(20))
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("layer", range(4))
def test_a_diverged_weight_shows(layer: int) -> None:
    parts = stack(16, 4, 5, 3, 1, 8)
    block = [*parts.noise_blocks, *parts.output_blocks][layer]
    for name, _ in itertools.islice(block.named_parameters(), 0, None, 3):
        weight = block.get_parameter(name)
        kept = weight.detach().clone()
        with torch.no_grad():
            weight.fill_(math.nan)
        (found,) = hidden(CPU.decoder(parts), torch.randn(1, 8, 3, 16), 1, range(1))
        assert found.isnan().all(), name
        with torch.no_grad():
            weight.copy_(kept)


def test_other_types_take_torchs_way() -> None:
    parts = stack(16, 4, 0, 3, 1, 8)
    for block in (*parts.noise_blocks, *parts.output_blocks):
        block.double()
    assert isinstance(CPU.decoder(parts), TorchDecoder)
