"""Which faults the score of a study can miss.

`make results` writes SMALLEST from the measurements in `results/metrics.json`
(`python -m benchmarks.metrics`), and it is installed with the package: by text, number of
sentences, metric and fault, the smallest dose that is seen, or null.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from core.plural import count
from studies.sections import Reading, number

SMALLEST = Path(__file__).parents[1] / "templates" / "metrics.json"
TEXTS = {"grammar": "the built-in grammar", "captions": "captions"}
OTHER_SOURCES = {"grammar": "grammar", "lstm_oracle": ""}  # than real text
MOST_NAMED, LARGE = 3, 0.05  # doses in a sentence, and the least of them
Smallest = Mapping[str, Mapping[str, Mapping[str, Mapping[str, float | None]]]]


@cache
def _packaged() -> Smallest:
    found: Smallest = json.loads(SMALLEST.read_text(encoding="utf-8"))
    return found


def missed(reading: Reading) -> Iterator[str]:
    """Which faults the score of a study would miss, at the fewest sentences that were measured;
    nothing if the score was not measured on such a text.
    """
    metric = reading.board.metric.partition("/")[2]
    source = next((run.params.get("corpus.source", "") for run in reading.seeds), "")
    text = OTHER_SOURCES.get(source, "captions")
    sizes = [n for n, known in _packaged().get(text, {}).items() if known.get(metric)]
    if not sizes:
        return
    n = min(sizes, key=int)
    doses = _packaged()[text][n][metric]
    never = [fault_name(fault) for fault, dose in doses.items() if dose is None]
    late = sorted(
        ((dose, fault) for fault, dose in doses.items() if (dose or 0) >= LARGE), reverse=True
    )
    *others, last = never or [""]
    said = (
        [f"{', '.join(others)} or {last} at any dose" if others else f"{last} at any dose"]
        if never
        else []
    )
    said += [
        f"{fault_name(fault)} below dose {number(dose)}"
        for dose, fault in late[:MOST_NAMED]
        if dose
    ]
    if said:
        yield (
            f"`{metric}` ({count(int(n), 'sentence')} of {TEXTS[text]}) does not see "
            f"{'; '.join(said)} (`textgan metrics try {metric}`)."
        )


def fault_name(fault: str) -> str:
    """As a page shows it."""
    return fault.replace("_", " ")
