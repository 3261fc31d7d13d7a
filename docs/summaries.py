"""Summaries of studies (`studies/summary.py`) as studies of a store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import InputError, first_line
from core.files import read_bounded
from core.tracking.memory import MemoryTracker
from studies.report import read
from studies.sections import SAMPLES, Reading
from studies.summary import DEFINITION, FORMAT

LARGEST, LONGEST_ID = 50_000_000, 64  # bytes; characters


def load(file: Path, store_dir: Path) -> Reading:
    """The study of a summary, as `read` gives one of a store; its text files go below `store_dir`.

    InputError where the file is none.
    """
    try:
        document = json.loads(read_bounded(file, LARGEST))
        if document["format"] != FORMAT:
            raise InputError(f"{file}: format {document['format']}; known: {FORMAT}")
        tracker = MemoryTracker(store_dir)
        tracker.uri = file.name
        for run in document["runs"]:
            _replay(tracker, document, run)
        return read(tracker, document["study"])
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError,
            StopIteration) as error:  # fmt: skip
        raise InputError(
            f"{file}: no summary of a study ({type(error).__name__}: {first_line(error)}); "
            f"textgan report STUDY --summary FILE writes one"
        ) from None


def _replay(tracker: MemoryTracker, document: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    if not (run["id"].isalnum() and len(run["id"]) <= LONGEST_ID):  # it names a folder
        raise ValueError(f"{run['id']!r} is no id of a run")
    started = tracker.start_run(
        document["study"],
        run["name"],
        params=run["params"],
        tags=run["tags"],
        parent_id=run["parent"],
        identity=run["id"],
    )
    curve = [(int(step), float(value)) for step, value in run.get("curve", [])]
    last = max((step for step, _ in curve), default=0)
    started.log_metrics(run["metrics"], last)
    # Files without the key have curves of the study's metric.
    metric = document.get("curve_metric") or document["definition"]["study"].get("metric", "")
    for step, value in curve:
        started.log_metrics({metric: value}, step)
    if run["tags"]["level"] == "study":
        started.log_text(json.dumps(document["definition"]), DEFINITION)
    if run.get("samples"):
        started.log_text(json.dumps(run["samples"]), SAMPLES)
