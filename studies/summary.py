"""A study as one small JSON file: enough to say again what it found, without its store.

What is kept are the records that the analysis reads: of each run its tags, its last numbers, the
curve of the study's metric; of the first seed the sentences. Curves of training, models and
checkpoints stay in the store. Paths of corpora are cut to the file's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from core.errors import InputError, first_line
from core.files import read_bounded
from core.metrics.catalogue import FLOORS, LIKELIHOOD
from core.tracking.memory import MemoryTracker
from core.tracking.protocol import RunRecord, Tracker
from studies.leaderboard import variant_runs
from studies.report import check_has_rows, read
from studies.sections import SAMPLES, Reading, last_samples

FORMAT = 1
LARGEST, LONGEST_ID = 50_000_000, 64  # bytes; characters
SOURCE = "corpus.source"
OF_SEED = (SOURCE, "schedule.name")  # settings of a run that the analysis reads
DEFINITION = "study.json"
TAGS = frozenset({
    "level", "variant", "seed", "outcome", "reason", "whole", "command", "git_commit", "corpus",
    "device", "versions", "seeds_added", "stacked", "arm", "settings", "published", "updates",
    "seconds", "evaluating", "evaluation_seconds", "signature", "signature_test", "trunk",
})  # fmt: skip
NUMBERS = ("eval/", "eval_", "test/", "test_", "real/", "mle/", "ngram/")
# The same in all runs: of the first seed alone.
OF_TEXTS = tuple(f"{name}/" for name in (LIKELIHOOD, *FLOORS))
SENTENCES = 8  # of the last step


def export(tracker: Tracker, study: str) -> dict[str, Any]:
    """The summary of a study of the store; InputError for an unknown one."""
    reading = read(tracker, study)
    check_has_rows(reading)
    sources = {run.params[SOURCE] for run in reading.seeds if SOURCE in run.params}
    definition = tracker.artifact(reading.board.parent_run_id, DEFINITION).read_text("utf-8")
    sources |= {str(json.loads(definition).get("corpus", {}).get("source", "grammar"))}
    tables = json.loads(_named(definition, sources))
    shown = _first_seed(reading)
    return {
        "format": FORMAT,
        "study": reading.board.study,
        "definition": tables,
        "runs": [
            _run(tracker, run, sources, reading.table.metric, with_samples=run.run_id in shown)
            for run in _counted(reading)
        ],
    }


def _counted(reading: Reading) -> list[RunRecord]:
    """The runs that the analysis reads: one for each variant and each seed."""
    tracker, study = reading.tracker, reading.board.study
    read = {run.run_id for run in (*reading.seeds, *variant_runs(tracker, study).values())}
    others = ("study", "trial")
    return [
        run for run in tracker.runs(study, deleted=True)
        if run.run_id in read or (run.tags.get("level") in others and not run.deleted)
    ]  # fmt: skip


def write(tracker: Tracker, study: str, file: Path) -> None:
    """The summary as a file, small enough for git."""
    document = export(tracker, study)
    lines = ",\n".join(json.dumps(run, ensure_ascii=False) for run in document.pop("runs"))
    head = json.dumps(document, ensure_ascii=False).removesuffix("}")
    text = f'{head},\n"runs": [\n{lines}\n]}}'
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n", encoding="utf-8")


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


def _first_seed(reading: Reading) -> set[str]:
    """The runs of the first seed that all rows share."""
    rows = reading.board.rows
    shared = sorted(set.intersection(*(set(row.seed_runs) for row in rows))) if rows else []
    return {row.seed_runs[shared[0]] for row in rows} if shared else set()


def _run(
    tracker: Tracker, run: RunRecord, sources: Iterable[str], metric: str, *, with_samples: bool
) -> dict[str, Any]:
    level = run.tags["level"]
    read_there = {key: run.params[key] for key in OF_SEED if key in run.params}
    kept = (*NUMBERS, *OF_TEXTS) if with_samples else NUMBERS
    of_level = run.params if level in ("study", "variant") else read_there
    found: dict[str, Any] = {
        "id": run.run_id,
        "name": run.name,
        "parent": run.parent_id,
        "tags": {k: _named(v, sources) for k, v in sorted(run.tags.items()) if k in TAGS},
        "params": {key: _named(value, sources) for key, value in sorted(of_level.items())},
        "metrics": {k: v for k, v in sorted(run.metrics.items()) if k.startswith(kept)},
    }
    if level == "seed":
        found["curve"] = tracker.history(run.run_id, metric)
    if with_samples:
        found["samples"] = _samples(tracker, run.run_id)
    return found


def _samples(tracker: Tracker, run_id: str) -> Mapping[str, Any] | None:
    """The last step's first sentences; None of a run that ended before its first evaluation."""
    kept = [each for each in last_samples(tracker, run_id) if int(each["row"]) < SENTENCES]
    return {"columns": [*kept[0]], "data": [[*each.values()] for each in kept]} if kept else None


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
    metric = document["definition"]["study"].get("metric", "")
    for step, value in curve:
        started.log_metrics({metric: value}, step)
    if run["tags"]["level"] == "study":
        started.log_text(json.dumps(document["definition"]), DEFINITION)
    if run.get("samples"):
        started.log_text(json.dumps(run["samples"]), SAMPLES)


def _named(text: str, sources: Iterable[str]) -> str:
    """The text with every path of a corpus cut to the file's name, and that of a study's file to
    where every checkout has it.
    """
    for source in sources:
        text = text.replace(source, PurePath(source).name)
    return re.sub(r"(?<![^\s\"'])/[^\s\"']*/(?=experiments/studies/)", "", text)
