"""`textgan judge` without the terminal: the sentences of a study, and its results on record."""

from __future__ import annotations

import json
from typing import Any

from core.config import parse, read_toml
from core.errors import InputError
from core.tracking.protocol import ENDED, Tracker
from experiments.single_run.run import open_corpus
from studies.analysis.people import results
from studies.judgement import REAL, Answer, answers
from variants import registry


def sources(tracker: Tracker, study: str, kind: str) -> dict[str, list[str]]:
    """Source -> sentences: of each variant those of its runs' last step, and for `kind` "real"
    held-out real text. InputError for an unknown study, or one without sentences.
    """
    if not tracker.runs(study, tags={"level": "study"}):
        known = sorted(run.name for run in tracker.runs(tags={"level": "study"}))
        raise InputError(f"no study {study!r}; known: {', '.join(known) or 'none yet'}")
    found: dict[str, list[str]] = {}
    trained = None
    for run in tracker.runs(study, tags={"level": "seed"}):
        if run.outcome not in ENDED:
            continue
        if "imported" not in run.tags:
            trained = run
        table = json.loads(tracker.artifact(run.run_id, "samples.json").read_text("utf-8"))
        rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
        last = max((row["step"] for row in rows), default=0)
        texts = [row["text"] for row in rows if row["step"] == last and row["text"].strip()]
        found.setdefault(run.tags["variant"], []).extend(texts)
    if not found:
        raise InputError(f"study {study!r} has no sentences yet; wait for a run to end")
    if kind == "real":
        if trained is None:
            raise InputError(f"study {study!r}: no run of it knows the real text")
        file = tracker.artifact(trained.run_id, "config.toml")
        config = parse(read_toml(file), registry(), str(file))
        corpus = open_corpus(config.corpus, tracker.store_dir, config.model.length)
        found[REAL] = [" ".join(words) for words in corpus.test.sentences(500)]
    return found


def publish(tracker: Tracker, study: str) -> dict[str, Any]:
    """Log the results to the study's run and to its variants' runs."""
    found = results(tracker, study)
    given: list[Answer] = answers(tracker.store_dir, study)
    parent = tracker.continue_run(tracker.runs(study, tags={"level": "study"})[0].run_id)
    lines = "\n".join(json.dumps(vars(answer), ensure_ascii=False) for answer in given)
    parent.log_text(lines + "\n", "judgements/answers.jsonl")
    parent.log_text(json.dumps(found, indent=2, ensure_ascii=False), "judgements/results.json")
    for name in ("agreement", "kappa"):
        if found[name] is not None:
            parent.log_metrics(_interval(f"human/{name}", found[name]), len(given))
    parent.finish("ok")
    for variant in tracker.runs(study, tags={"level": "variant"}):
        if variant.name in found["preferred"]:
            record = tracker.continue_run(variant.run_id)
            values = _interval("human/preferred", found["preferred"][variant.name])
            record.log_metrics(values, len(given))
            record.finish("ok")
    return found


def _interval(name: str, found: dict[str, float]) -> dict[str, float | None]:
    return {name: found["value"], f"{name}_low": found["low"], f"{name}_high": found["high"]}
