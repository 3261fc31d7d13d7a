"""Numbered random words against the paper's function spelled out, and the noise made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numba import njit
from scipy.stats import gumbel_r, kstest

from core.kernels import numba_philox, numba_simd
from core.kernels.cpu import CPU
from core.kernels.torch import TORCH, Kernels, philox

WORD = 2**32


def plain(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """Philox 4x32-10 (Salmon et al. 2011, section 4.3)."""
    a, b, c, d = counter
    k, m = key
    for _ in range(10):
        left, right = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (right // WORD ^ b ^ k, right % WORD, left // WORD ^ d ^ m, left % WORD)
        k, m = (k + 0x9E3779B9) % WORD, (m + 0xBB67AE85) % WORD
    return a, b, c, d


def test_the_definition_gives_the_published_answers() -> None:
    most = WORD - 1
    assert plain((0,) * 4, (0, 0)) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    assert plain((most,) * 4, (most,) * 2) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)


@pytest.mark.parametrize(("key", "c", "row", "step"), [(0, 0, 0, 0), (2**62 - 9, 48, 63, 199)])
def test_words_are_the_papers(key: int, c: int, row: int, step: int) -> None:
    @njit
    def walk(out: Any, key: int, c: int, row: int, step: int) -> None:
        numba_philox.words(out.ctypes.data, 4 * numba_simd.LANES, key, c, row, step)

    found = np.zeros((4, numba_simd.LANES), np.uint32)
    walk(found, key, c, row, step)
    for place, words in enumerate(found.T):
        counter = (c + place, row, step, 0)
        expected = plain(counter, (key % WORD, key // WORD))
        assert tuple(int(w) for w in words) == expected
        defined = philox(np.full(1, c + place, np.uint64), np.full(1, row, np.uint64), step, key)
        assert tuple(int(w[0]) for w in defined) == expected


@pytest.mark.parametrize("kernels", [TORCH, CPU])
def test_noise_is_of_these_words(kernels: Kernels) -> None:
    V = 70  # C is 32: numbers 32 and 33 are the second words of counters 0 and 1
    noise = kernels.gumbel(torch.empty(4, V), (5, 8), 3)
    for seed, row, number, counter, word in ((5, 0, 0, 0, 0), (8, 3, 33, 1, 1), (8, 2, 69, 5, 2)):
        u = ((plain((counter, row % 2, 3, 0), (seed, 0))[word] >> 9) + 0.5) / 2**23
        assert float(noise[row, number]) == pytest.approx(-np.log(-np.log(u)), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("shape", [(4, 70), (6, 1), (2, 4600)])
def test_the_compiled_noise_is_the_definitions(shape: tuple[int, int]) -> None:
    seeds = (2**62 - 1, 7)
    ours, theirs = (kernels.gumbel(torch.empty(shape), seeds, 63) for kernels in (CPU, TORCH))
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    wide = CPU.gumbel(torch.empty(shape, dtype=torch.float64), seeds, 63)
    torch.testing.assert_close(wide.float(), theirs, rtol=1e-6, atol=1e-6)


def test_noise_is_gumbels_and_independent() -> None:
    g = torch.stack([CPU.gumbel(torch.empty(20, 500), (1, 2), t) for t in range(10)]).double()
    assert kstest(g.flatten().numpy(), gumbel_r.cdf).pvalue > 0.01
    pairs = (
        (g[:, :, 1:], g[:, :, :-1]),
        (g[:, 1:], g[:, :-1]),
        (g[1:], g[:-1]),
        (g[:, :10], g[:, 10:]),
    )
    for one, other in pairs:  # neighbours in words, rows, steps, seeds
        correlation = np.corrcoef(one.flatten().numpy(), other.flatten().numpy())[0, 1]
        assert abs(correlation) < 4 / np.sqrt(one.numel())


def test_log_is_exact_to_rounding() -> None:
    spread = np.exp(np.linspace(-80, 80, 512 * numba_simd.LANES))
    off = np.logspace(-6, -0.4, 256 * numba_simd.LANES)
    x = np.concatenate([spread, 1 - off, 1 + off]).astype(np.float32)

    @njit
    def walk(x: Any, y: Any) -> None:
        for i in range(0, x.size, numba_simd.LANES):
            numba_simd.store(
                y.ctypes.data + 4 * i, numba_simd.log(numba_simd.load(x.ctypes.data + 4 * i))
            )

    y = np.empty_like(x)
    walk(x, y)
    exact = np.log(x.astype(np.float64))
    assert (np.abs(y - exact) <= 1.2e-7 * np.abs(exact)).all()
