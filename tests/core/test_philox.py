"""Numbered random words against the paper's function spelled out, and the noise made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numba import njit
from scipy.stats import gumbel_r, kstest

from core.nn import philox, simd
from core.nn.gumbel import gumbel

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
        philox.words(out.ctypes.data, 4 * simd.LANES, key, c, row, step)

    found = np.zeros((4, simd.LANES), np.uint32)
    walk(found, key, c, row, step)
    for place, words in enumerate(found.T):
        counter = (c + place, row, step, 0)
        assert tuple(int(w) for w in words) == plain(counter, (key % WORD, key // WORD))


def test_noise_is_of_these_words() -> None:
    V = 70  # C is 32: numbers 32 and 33 are the second words of counters 0 and 1
    noise = gumbel((5, 8), 3, torch.empty(4, V))
    for seed, row, number, counter, word in ((5, 0, 0, 0, 0), (8, 3, 33, 1, 1), (8, 2, 69, 5, 2)):
        u = ((plain((counter, row % 2, 3, 0), (seed, 0))[word] >> 9) + 0.5) / 2**23
        assert float(noise[row, number]) == pytest.approx(-np.log(-np.log(u)), rel=1e-6, abs=1e-6)


def test_noise_is_gumbels_and_independent() -> None:
    g = torch.stack([gumbel((1, 2), t, torch.empty(20, 500)) for t in range(10)]).double()
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
    spread = np.exp(np.linspace(-80, 80, 512 * simd.LANES))
    off = np.logspace(-6, -0.4, 256 * simd.LANES)
    x = np.concatenate([spread, 1 - off, 1 + off]).astype(np.float32)

    @njit
    def walk(x: Any, y: Any) -> None:
        for i in range(0, x.size, simd.LANES):
            simd.store(y.ctypes.data + 4 * i, simd.log(simd.load(x.ctypes.data + 4 * i)))

    y = np.empty_like(x)
    walk(x, y)
    exact = np.log(x.astype(np.float64))
    assert (np.abs(y - exact) <= 1.2e-7 * np.abs(exact)).all()
