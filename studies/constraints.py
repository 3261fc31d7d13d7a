"""Constraints of a search on the metrics of its trials, such as `eval/copied <= 0.05`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from core.errors import nearest
from core.metrics.catalogue import CATALOGUE, METRICS

FORM = re.compile(r"\s*(\S+?)\s*(<=|>=)\s*(\S+)\s*")
EXAMPLE = "'eval/copied <= 0.05'"


@dataclass(frozen=True)
class Constraint:
    """A bound of a metric on the validation split."""

    metric: str  # `eval/...`
    sign: str  # <= or >=
    bound: float

    def __str__(self) -> str:
        return f"{self.metric} {self.sign} {self.bound:g}"

    @classmethod
    def parse(cls, text: Any) -> Constraint:
        """From a study file; ValueError for a metric that no run measures, and for a bound that
        every value or none keeps.
        """
        found = FORM.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise ValueError(f"must be a metric, <= or >=, and a number, as in {EXAMPLE}")
        metric, sign, bound = found[1], found[2], _number(found[3])
        name = metric.removeprefix("eval/")
        if name in CATALOGUE and name not in METRICS:
            raise ValueError(f"training runs do not measure {name!r}, only `textgan evaluate` does")
        if metric != f"eval/{name}" or name not in METRICS:
            known = nearest(metric, (f"eval/{each}" for each in METRICS))
            raise ValueError(f"no metric {metric!r}{known}")
        low, high = METRICS[name].bounds
        if not low <= bound <= high:
            raise ValueError(f"{metric} is between {low:g} and {high:g}; give a bound within")
        return cls(metric, sign, bound)

    def excess(self, value: float | None) -> float:
        """How far a value is on the wrong side of the bound; at most 0 if it keeps the constraint,
        infinite if it is unknown.
        """
        if value is None or math.isnan(value):
            return math.inf
        return value - self.bound if self.sign == "<=" else self.bound - value


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is not a number; write it as in {EXAMPLE}")
    return number
