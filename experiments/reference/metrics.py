"""Every metric: what is logged under which name, and the definition that its function states."""

from __future__ import annotations

import importlib
import pkgutil

import core.metrics
from core.metrics.catalogue import CATALOGUE, LEAST, METRICS
from experiments.reference.code import definitions

INTRODUCTION = """# Metrics

In a store each stands as `eval/NAME` (of the generated sentences) and `real/NAME` (of real
held-out text scored as if it had been generated). *Better* says which way; *near* means near to
what real text has. `textgan evaluate` computes all of them, and `--metrics` takes groups; a
training run computes those that are marked. *Least* is the number of sentences on each side from
which the values of a group are worth comparing.
"""


def page() -> str:
    """The page."""
    parts = [INTRODUCTION, _table(), "## Definitions"]
    for found in pkgutil.iter_modules(core.metrics.__path__):
        module = importlib.import_module(f"core.metrics.{found.name}")
        parts += [f"### {found.name}", definitions(module, level=4)]
    return "\n\n".join(parts) + "\n"


def _table() -> str:
    head = "| name | better | what it is | group | least | in a run |\n|---|---|---|---|---|---|"
    rows = [
        f"| `{name}` | {info.direction} | {info.summary} | `{info.group}` "
        f"| {LEAST[info.group]} | {'yes' if name in METRICS else ''} |"
        for name, info in CATALOGUE.items()
    ]
    return "\n".join([head, *rows])
