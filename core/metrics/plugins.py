"""Metrics of other packages, through the entry-point group `textgan.metrics`.

An entry's name is the metric's name, and its value a `PluginMetric`, as `package.module:METRIC`.
`textgan evaluate` and `textgan metrics` load all of them into the catalogue, each as a group of its
own; `docs/example_plugin` is a worked example. A plug-in cannot harm the other metrics: if it does
not load, raises, or gives no number within its bounds, its value is None with the reason, and the
sentences that it receives are tuples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint
from typing import Any, Literal

from core.errors import first_line
from core.metrics.catalogue import CATALOGUE, GROUPS, Direction, GroupInfo, MetricInfo
from core.metrics.intervals import Measure
from core.metrics.ngrams import Text
from core.plugins import installed

ENTRY_POINTS = "textgan.metrics"
ANY = (-math.inf, math.inf)
Need = Literal["training", "oracle", "encoder"]


@dataclass(frozen=True)
class PluginMetric:
    """A metric of another package.

    `function(samples, references, **needed)` gets sentences as tuples of words, samples never
    empty, and a keyword argument for each of `needs`: `training` (sentences), `oracle`
    (`core.text.oracles`) and `encoder` (`core.metrics.encoders.Encoder`). It returns a number, None
    where the metric is undefined, or a `Measure`, which may have an interval. It must be a pure
    function that does not depend on the order of the samples.
    """

    function: Callable[..., float | Measure | None]
    summary: str  # one line
    direction: Direction
    bounds: tuple[float, float] = ANY  # of its values
    version: int = 1  # of its definition; a change of values raises it
    needs: frozenset[Need] = frozenset()
    references: bool = True  # whether its value depends on the references
    size_dependent: bool = True  # whether only values of equal sample sizes can be compared
    sentences: int = 100  # on each side; with fewer there is a warning

    def apply(self, samples: Text, references: Text, needed: Mapping[Need, Any]) -> Measure:
        """Its value and interval; raises what the function raises, ValueError for no number within
        the bounds.
        """
        texts = [tuple(map(tuple, text)) for text in (samples, references)]
        found = self.function(*texts, **{name: needed[name] for name in self.needs})
        sizes = len(samples), len(references) if self.references else 0
        found = found if isinstance(found, Measure) else Measure(found, *sizes)
        value = None if found.value is None else float(found.value)
        low, high = self.bounds
        if value is not None and not (math.isfinite(value) and low <= value <= high):
            raise ValueError(f"its value is {value}, and its bounds are {low:g} and {high:g}")
        bounds = found.interval()
        is_finite = bounds is not None and all(map(math.isfinite, bounds))
        return Measure(value, *sizes, lambda: bounds if is_finite else None, reason=found.reason)


def load() -> Mapping[str, PluginMetric]:
    """The installed plug-ins by name, which are in the catalogue from then on. InputError for a
    name that is none, or that the harness or another plug-in has.
    """
    own = {*CATALOGUE, *GROUPS} - PLUGINS.keys()
    for name, point in installed(ENTRY_POINTS, "metric", own).items():
        register(name, _loaded(point))
    return PLUGINS


PLUGINS: dict[str, PluginMetric] = {}  # those in the catalogue


def register(name: str, metric: PluginMetric) -> None:
    """Put a metric into the catalogue, as a group of its own."""
    PLUGINS[name] = metric
    CATALOGUE[name] = MetricInfo(metric.direction, metric.summary, name, metric.bounds)
    GROUPS[name] = GroupInfo(
        metric.function.__module__,
        metric.sentences,
        references=metric.references,
        size_dependent=metric.size_dependent,
        training="training" in metric.needs,
        oracle="oracle" in metric.needs,
        encoder="encoder" in metric.needs,
        version=metric.version,
    )


@cache
def _loaded(point: EntryPoint) -> PluginMetric:
    """The metric; one that cannot be loaded has no value, with the reason."""
    try:
        metric = point.load()
    except Exception as error:  # noqa: BLE001 - any error of a foreign module at import
        why = f"{type(error).__name__}: {first_line(error)}"
        return _unusable(f"{point.value} cannot be loaded: {why}")
    if not isinstance(metric, PluginMetric):
        return _unusable(f"{point.value} is no PluginMetric")
    return metric


def _unusable(reason: str) -> PluginMetric:
    return PluginMetric(
        lambda samples, references: Measure(None, 0, 0, reason=reason), reason, "near", sentences=0
    )
