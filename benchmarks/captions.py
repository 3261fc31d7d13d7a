"""Sentences of caption length: real ones where they are at hand, else made ones of that shape."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

DATA = Path(os.environ.get("TEXTGAN_DATA", Path(__file__).parents[2] / "shared" / "data"))
# Of a thousand captions of the published split, how many have 8, 9, ... tokens, the end included.
PER_THOUSAND = (6, 178, 213, 212, 146, 96, 61, 35, 18, 10, 9, 4, 4, 3, 1, 1, 3)
SHORTEST = 8


def captions(name: str, count: int) -> tuple[list[list[str]], str]:
    """`count` sentences of file `name` (coco_train.txt, coco_test.txt), and where they are from."""
    file = DATA / name
    if file.exists():
        lines = file.read_text(encoding="utf-8").splitlines()
        return [line.split() for line in lines[:count]], f"captions ({name})"
    rng = np.random.default_rng(sum(name.encode()))
    shares = 1 / np.arange(1, 5001)
    words = rng.choice(5000, size=(count, 24), p=shares / shares.sum())
    made = [
        [str(word) for word in row[: n - 1]]
        for row, n in zip(words, lengths(count, name), strict=True)
    ]
    return made, "made sentences of caption lengths, words falling as 1/rank"


def lengths(count: int, name: str) -> np.ndarray:
    """Caption lengths (count,), the end token included."""
    rng = np.random.default_rng(len(name))
    shares = np.array(PER_THOUSAND) / sum(PER_THOUSAND)
    return SHORTEST + rng.choice(len(shares), size=count, p=shares)
