"""The kernel discrepancy against its definition."""

from __future__ import annotations

import itertools
import math
from statistics import median_low

import torch

from variants.system.textgan_mmd import squared_mmd


def test_it_is_the_mean_over_pairs_of_different_rows() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(5, 3, generator=rng, dtype=torch.float64)
    y = torch.randn(5, 3, generator=rng, dtype=torch.float64) + 0.5
    rows = [*x.tolist(), *y.tolist()]
    scale = 2 * median_low([math.dist(a, b) ** 2 for a, b in itertools.combinations(rows, 2)])

    def mean(of: list[list[float]], others: list[list[float]]) -> float:
        kernels = [
            math.exp(-(math.dist(a, b) ** 2) / scale) for a in of for b in others if a is not b
        ]
        return sum(kernels) / len(kernels)

    a, b = rows[:5], rows[5:]
    assert math.isclose(float(squared_mmd(x, y)), mean(a, a) + mean(b, b) - 2 * mean(a, b))


def test_equal_distributions_have_none_on_average_and_its_gradient_draws_them_together() -> None:
    rng = torch.Generator().manual_seed(1)
    same = [squared_mmd(*torch.randn(2, 8, 2, generator=rng)) for _ in range(2000)]
    values = torch.stack(same)
    assert values.mean().abs() < 3 * values.std() / len(values) ** 0.5
    x = (torch.randn(8, 2, generator=rng) + 2).requires_grad_(True)
    y = torch.randn(8, 2, generator=rng)
    before = squared_mmd(x, y)
    (gradient,) = torch.autograd.grad(before, x)
    assert squared_mmd(x - 0.1 * gradient, y) < before


def test_rows_that_are_all_equal_give_numbers() -> None:
    x = torch.ones(4, 3, requires_grad=True)
    value = squared_mmd(x, torch.ones(4, 3))
    (gradient,) = torch.autograd.grad(value, x)
    assert float(value.detach()) == 0
    assert bool(torch.isfinite(gradient).all())
