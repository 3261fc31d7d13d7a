"""Every metric: what is logged under which name, and the definition that its function states."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import asdict
from typing import Any

import core.metrics
from core.metrics.suite import METRICS
from experiments.reference.code import definitions

INTRODUCTION = """# Metrics

In a store each stands as `eval/NAME` (of the generated sentences) and `real/NAME` (of real
held-out text scored as if it had been generated). *Better* says which way; `near` means near to
what real text has.
"""


def page() -> str:
    """The page."""
    parts = [INTRODUCTION, _table(METRICS), "## Definitions"]
    for found in pkgutil.iter_modules(core.metrics.__path__):
        module = importlib.import_module(f"core.metrics.{found.name}")
        parts += [f"### {found.name}", definitions(module, level=4)]
    return "\n\n".join(parts) + "\n"


def _table(metrics: Any) -> str:
    columns = list(asdict(next(iter(metrics.values()))))
    titles = ["name", *("better" if column == "direction" else column for column in columns)]
    rows = [
        [f"`{name}`", *(str(asdict(info)[column]) for column in columns)]
        for name, info in metrics.items()
    ]
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )
