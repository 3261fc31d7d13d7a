"""Processes that run this very code, whatever the folder that they start in holds.

`python -m` looks into that folder first: a user's own `experiments/` would be taken for ours.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def command(module: str, *arguments: str) -> list[str]:
    """What starts a module of ours, in `environment()`."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """That of this process, with our packages first."""
    found = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(found)}
