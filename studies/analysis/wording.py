"""Numbers and sentences of reports."""

from __future__ import annotations

from collections.abc import Sequence

from core.statistics import Interval
from studies.leaderboard import Row

MANY = 4  # names that are spelled out before the rest is counted


def number(value: float) -> str:
    """Four significant digits, without a zero before the point: `.0312`, `-1.204`."""
    text = f"{value:.4g}" if abs(value) >= 1 else f"{value:.4f}".rstrip("0")
    text = text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
    return "0" if text in (".", "-.", "0") else text


def p_value(p: float) -> str:
    """A p-value to three digits; none is zero."""
    return f"{p:.3f}" if p >= 0.0005 else "< 0.001"


def bracket(low: float, high: float) -> str:
    """An interval in a sentence: `[.01, .05]`."""
    return f"[{number(low)}, {number(high)}]"


def between(ends: tuple[float, float] | None, digits: int = 4, sign: str = "") -> str:
    """An interval in a table: `0.0100 to 0.0500`; None for a single run, which has none."""
    return "one run" if ends is None else " to ".join(f"{end:{sign}.{digits}f}" for end in ends)


def contrast_cells(
    value: float, low: float, high: float, pairs: int, p: float, adjusted: float
) -> list[str]:
    """A difference in a table: value, interval, pairs, p and adjusted p; a single pair has no p."""
    if pairs == 1:
        return [f"{value:+.4f}", "one pair", "1", "", ""]
    interval = between((low, high), sign="+")
    return [f"{value:+.4f}", interval, str(pairs), p_value(p), p_value(adjusted)]


def scored(row: Row) -> str:
    """A variant's score with its interval; a single run has none."""
    shown = number(row.score)
    return shown if row.interval is None else f"{shown} {bracket(*row.interval)}"


def names(found: Sequence[str]) -> str:
    """`a`, `b` and 3 more."""
    shown = [f"`{name}`" for name in found[:MANY]]
    if len(found) > MANY:
        return f"{', '.join(shown)} and {len(found) - MANY} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def count(n: int, word: str) -> str:
    """`1 seed`, `5 seeds`."""
    head, space, tail = word.partition(" ")
    return f"{n} {head}{'' if n == 1 else 's'}{space}{tail}"


def contrast(
    level: str, reference: str, difference: Interval, pairs: int, *,
    higher_is_better: bool, detectable: float | None = None, unit: str = "pair",
) -> str:  # fmt: skip
    """The conclusion from a difference `level` minus `reference` with its 95% interval.

    `detectable` is the minimum detectable difference, if it is known.
    """
    n, low, high = f"n = {count(pairs, unit)}", difference.low, difference.high
    if low == high == 0:
        return f"`{level}` and `{reference}` have the same score ({n})."
    if pairs < 2:
        return (
            f"`{level}` minus `{reference}` is {number(difference.value)} in a single pair; its "
            f"variation by chance is unknown."
        )
    if low > 0 or high < 0:
        better, worse = (level, reference) if (low > 0) == higher_is_better else (reference, level)
        near, far = sorted((abs(low), abs(high)))
        size = number(abs(difference.value))
        return f"`{better}` beats `{worse}` by {size} {bracket(near, far)} ({n})."
    said = (
        f"No significant difference between `{level}` and `{reference}` "
        f"({n}, interval {bracket(low, high)})"
    )
    if detectable is not None:
        return f"{said}; minimum detectable difference {number(detectable)}."
    return f"{said}."
