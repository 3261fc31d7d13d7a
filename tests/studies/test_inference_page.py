"""The page of simulated coverage is that of the stored simulation, which keeps what it promises; a
small simulation repeats it.
"""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest

from benchmarks.inference import REPEATS, tables
from docs import results
from tests.conftest import ROOT

STORED = ROOT / "results" / results.INFERENCE


def check(found: dict[str, Any], slack: float) -> None:
    """What every simulation must show; `slack` is its Monte Carlo error."""
    for row in found["coverage"]:
        skewed = row["shape"] == "skewed"
        if row["survivors"] is not None:
            assert row["survivors"] >= (0.90 if skewed else 0.92) - slack, row
            assert row["survivors"] <= 0.97 + slack or skewed, row
        if row["seeds"] > 2 or row["failures"] == 0:
            assert row["overall"] >= 0.92 - slack, row
    rates = [row["rate"] for row in found["coverage"]]
    assert sum(rates) / len(rates) >= 0.93 - slack
    for row in found["errors"]:
        assert max(row["control"], row["pairs_holm"]) <= 0.05 + slack, row


def test_the_page_is_that_of_the_stored_simulation() -> None:
    committed = (ROOT / "docs" / "inference.md").read_text(encoding="utf-8")
    assert results.inference(STORED) == committed, "run `make results`"


def test_the_stored_simulation_keeps_what_it_promises() -> None:
    found = json.loads(STORED.read_text(encoding="utf-8"))
    assert found["repeats"] >= 4000
    sizes = {(row["rows"], row["seeds"]) for row in found["coverage"]}
    assert {(2, 2), (2, 10), (32, 2), (32, 10)} <= sizes
    check(found, 2 * (0.05 * 0.95 / found["repeats"]) ** 0.5)


@pytest.mark.slow
def test_a_small_simulation_keeps_it_too() -> None:
    assert REPEATS >= 4000
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # unknown variances
        check(tables(400, sizes=(2, 5), seeds=(2, 3, 5)), slack=0.033)
