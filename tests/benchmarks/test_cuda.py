"""How long a GPU did nothing, from what a profiler saw."""

from __future__ import annotations

import pytest

from benchmarks.cuda import idle_share


@pytest.mark.parametrize(("spans", "share"), [
    ([], 1.0),
    ([(3.0, 3.0)], 0.0),
    ([(0.0, 10.0)], 0.0),
    ([(0.0, 2.0), (8.0, 10.0)], 0.6),
    ([(8.0, 10.0), (0.0, 2.0), (1.0, 4.0)], 0.4),  # they come in any order, and overlap
    ([(0.0, 10.0), (2.0, 3.0), (4.0, 5.0), (15.0, 20.0)], 0.25),
])  # fmt: skip
def test_idle_is_what_no_kernel_covers(spans: list[tuple[float, float]], share: float) -> None:
    assert idle_share(spans) == pytest.approx(share)
