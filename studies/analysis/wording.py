"""Sentences that say what an interval supports, and what it does not."""

from __future__ import annotations

from collections.abc import Sequence

from studies.leaderboard import Row

MANY = 4  # names that are spelled out before the rest is counted


def number(value: float) -> str:
    """Four significant digits, without a zero before the point: `.0312`, `-1.204`."""
    text = f"{value:.4g}" if abs(value) >= 1 else f"{value:.4f}".rstrip("0")
    text = text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
    return "0" if text in (".", "-.", "0") else text


def chance(p: float) -> str:
    """A p-value to three digits; none is zero."""
    return f"{p:.3f}" if p >= 0.0005 else "< 0.001"


def bracket(low: float, high: float) -> str:
    """An interval, `[.01, .05]`."""
    return f"[{number(low)}, {number(high)}]"


def scored(row: Row) -> str:
    """A variant's score with its interval; one run has none."""
    shown = number(row.score)
    return shown if row.interval is None else f"{shown} {bracket(*row.interval)}"


def between(ends: tuple[float, float] | None, digits: int = 4) -> str:
    """The ends of an interval in a table; None of one run, whose spread nobody knows."""
    return "one run" if ends is None else " to ".join(f"{end:.{digits}f}" for end in ends)


def names(found: Sequence[str]) -> str:
    """`a`, `b` and 3 others."""
    shown = [f"`{name}`" for name in found[:MANY]]
    if len(found) > MANY:
        return f"{', '.join(shown)} and {len(found) - MANY} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def count(n: int, word: str) -> str:
    """`1 seed`, `5 seeds`."""
    head, space, tail = word.partition(" ")
    return f"{n} {head}{'' if n == 1 else 's'}{space}{tail}"


def contrast(
    level: str, reference: str, difference: float, low: float, high: float, pairs: int, *,
    higher_is_better: bool, invisible: float | None = None, unit: str = "pair",
) -> str:  # fmt: skip
    """What a difference `level` minus `reference` with its 95% interval says, and where it stops.

    `invisible` is the size of a true difference that so many pairs would usually miss.
    """
    over = f"over {count(pairs, unit)}"
    if low == high == 0:
        return f"`{level}` and `{reference}` score the same {over}."
    if pairs < 2:
        return (
            f"`{level}` minus `{reference}` is {number(difference)} in a single pair: nothing says "
            f"how much of it is chance."
        )
    if low > 0 or high < 0:
        ahead, behind = (level, reference) if (low > 0) == higher_is_better else (reference, level)
        near, far = sorted((abs(low), abs(high)))
        return (
            f"`{ahead}` beats `{behind}` by {number(abs(difference))} {bracket(near, far)} {over}."
        )
    sentence = (
        f"`{level}` and `{reference}` cannot be told apart {over}: the difference lies anywhere in "
        f"{bracket(low, high)}"
    )
    if invisible is not None:
        return f"{sentence}, and true differences below {number(invisible)} are invisible."
    return f"{sentence}."
