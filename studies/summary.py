"""A study as one small JSON file: enough to say again what it found, without its store.

What is kept are the records that the analysis reads: of each run its tags, its last numbers, the
curve of `curve_metric`; of the first seed the sentences. Curves of training, models and
checkpoints stay in the store. Paths of corpora are cut to the file's name. `docs/summaries.py`
reads such files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from core.metrics.catalogue import FLOORS, LIKELIHOOD
from core.tracking.protocol import RunRecord, Tracker
from studies.leaderboard import variant_runs
from studies.report import check_has_rows, read
from studies.sections import Reading, last_samples

FORMAT = 1
SOURCE = "corpus.source"
OF_SEED = (SOURCE, "schedule.name")  # settings of a run that the analysis reads
DEFINITION = "study.json"
TAGS = frozenset({
    "level", "variant", "seed", "outcome", "reason", "whole", "command", "git_commit", "corpus",
    "device", "versions", "seeds_added", "rows_added", "stacked", "arm", "settings", "published",
    "updates", "seconds", "evaluating", "evaluation_seconds", "signature", "signature_test",
    "trunk",
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
    shown, metric = _first_seed(reading), reading.table.curve_metric
    return {
        "format": FORMAT,
        "study": reading.board.study,
        "curve_metric": metric,
        "definition": tables,
        "runs": [
            _run(tracker, run, sources, metric, with_samples=run.run_id in shown)
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


def _named(text: str, sources: Iterable[str]) -> str:
    """The text with every path of a corpus cut to the file's name, and that of a study's file to
    where every checkout has it.
    """
    for source in sources:
        text = text.replace(source, PurePath(source).name)
    return re.sub(r"(?<![^\s\"'])/[^\s\"']*/(?=experiments/studies/)", "", text)
