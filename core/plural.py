"""Counted nouns."""

from __future__ import annotations


def count(n: int, word: str) -> str:
    """`1 seed`, `5 seeds`, `2 entries`, `1,000 runs of a study`."""
    head, space, tail = word.partition(" ")
    if n != 1:
        head = f"{head[:-1]}ies" if head.endswith("try") else f"{head}s"
    return f"{n:,} {head}{space}{tail}"
