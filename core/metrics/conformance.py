"""The rules that a metric of another package must keep; `textgan metrics check` calls `check`.

The function gives the same value again, and the same for the samples in another order. For odd
texts (one sentence, empty ones, tokens that look like special ones, one sample against many
references) it gives a number within the bounds, or None, and never an error.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

from core.errors import InputError, first_line
from core.metrics.catalogue import Direction
from core.metrics.encoders import BagOfWords
from core.metrics.ngrams import Text
from core.metrics.plugins import Need, PluginMetric
from core.text.grammar import grammar

MANY = 10_000  # references for one sample
NEAR = 1e-9


def odd_texts() -> Iterator[tuple[str, Text, Text]]:
    """What each pair is, samples and references."""
    source = grammar("easy")
    real = source.sample(30, 1)
    special = [["<unk>", "<pad>"], ["</s>"], ["<s>", "|", "\\", "\x00", "é", "%s"]]
    yield "ordinary text", source.sample(30, 2), real
    yield "one sentence", [["a", "b", "c"]], real
    yield "one sentence on each side", [["a"]], [["b"]]
    yield "sentences of one token", [["a"], ["b"]] * 10, real
    yield "an empty sentence", [[]], real
    yield "empty sentences", [[], []] * 10, [[], ["a"]]
    yield "samples equal to the references", real, copy.deepcopy(real)
    yield "one sentence many times", [["a", "b"]] * 40, real
    yield "special tokens", special * 10, special * 10
    yield "one sample against many references", [["a", "b"]], many_references()


@cache
def many_references() -> Text:
    """MANY sentences."""
    return grammar("easy").sample(MANY, 3)


def check(name: str, metric: PluginMetric) -> None:
    """InputError names every rule that the metric breaks."""
    faults = list(_faults(metric))
    if faults:
        raise InputError("\n".join(f"{name}: {fault}" for fault in faults))


def _faults(metric: PluginMetric) -> Iterator[str]:
    low, high = metric.bounds
    if metric.direction not in get_args(Direction):
        yield f"direction is {metric.direction!r}; must be one of {', '.join(get_args(Direction))}"
    if not metric.summary or "\n" in metric.summary:
        yield "summary must be one line"
    if not low < high:
        yield f"bounds are {low} and {high}; the first must be below the second"
    if metric.version < 1:
        yield "version must be at least 1"
    if unknown := metric.needs - set(get_args(Need)):
        yield f"needs {sorted(unknown)}; known: {', '.join(get_args(Need))}"
        return
    training = grammar("easy").sample(200, 4)
    needed: dict[Need, Any] = {
        "training": training,
        "oracle": grammar("easy"),
        "encoder": BagOfWords(training, 8),
    }
    for what, samples, references in odd_texts():
        try:
            first, again, reordered = (
                metric.apply(text, references, needed).value
                for text in (samples, samples, samples[::-1])
            )
        except Exception as error:  # noqa: BLE001 - any error of a foreign function
            yield f"{what}: {type(error).__name__}: {first_line(error)}"
            continue
        if again != first:
            yield f"{what}: the value is {first}, and in a second call {again}"
        if not _same(first, reordered):
            yield f"{what}: the value is {first}, and of the samples in another order {reordered}"


def _same(a: float | None, b: float | None) -> bool:
    return a == b if a is None or b is None else math.isclose(a, b, rel_tol=NEAR, abs_tol=NEAR)
