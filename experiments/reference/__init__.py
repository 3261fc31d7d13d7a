"""The reference, written by the code itself: strategies, settings, metrics, commands, systems.

`pages` gives Markdown by file name; `docs/hooks.py` hands it to MkDocs. Nothing here names a
strategy, a metric or a setting, so what is added anywhere stands in the reference with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from core.metrics.catalogue import LEAST
from experiments.reference import code, commands, files, metrics, settings, strategies

PAGES: Mapping[str, tuple[str, Callable[[], str]]] = {
    "reference/strategies.md": ("Strategies", strategies.page),
    "reference/configuration.md": ("Configuration", settings.page),
    "reference/metrics.md": ("Metrics", metrics.page),
    "reference/commands.md": ("Command line", commands.page),
    "reference/systems.md": ("Systems and studies", files.page),
    "reference/python.md": ("Python", code.page),
    "reference/evaluation_json.md": ("JSON of an evaluation", metrics.document),
}
METRICS: Mapping[str, tuple[str, Callable[[], str]]] = {
    f"reference/metrics/{group}.md": (group, partial(metrics.of_group, group)) for group in LEAST
}


def pages() -> dict[str, str]:
    """File name -> Markdown, for every page."""
    return {name: write() for name, (_, write) in {**PAGES, **METRICS}.items()}
