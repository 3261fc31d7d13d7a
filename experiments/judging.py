"""`textgan judge`: the sentences of a study, questions in the terminal, and results on record."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import typer

from core.errors import InputError
from core.tracking.protocol import ENDED, Tracker, study_run
from experiments.console import interval, stderr, stdout, table
from experiments.corpora import corpus_of
from studies.analysis.people import results
from studies.judgement import REAL, TIE, Answer, Comparison, answers, comparisons, keep, session

Questions = Sequence[tuple[Comparison, bool]]  # the flag: show the second sentence first
OnAnswer = Callable[[Comparison, int | None], None]  # the preferred side, None for neither
QUESTIONS = {"better": "Which is better?", "real": "Which did a person write?"}
SIDES: dict[str, int | None] = {"1": 0, "2": 1, "=": None}
STOP = "q"


def sources(tracker: Tracker, study: str, kind: str) -> dict[str, list[str]]:
    """The sentences of each variant at its runs' last step, and for `kind` "real" those of
    held-out real text. InputError for an unknown study, or one without sentences.
    """
    study_run(tracker, study)
    found: dict[str, list[str]] = {}
    trained = None
    for run in tracker.runs(study, tags={"level": "seed"}):
        if run.outcome not in ENDED:
            continue
        if "imported" not in run.tags:
            trained = run
        samples = json.loads(tracker.artifact(run.run_id, "samples.json").read_text("utf-8"))
        rows = [dict(zip(samples["columns"], row, strict=True)) for row in samples["data"]]
        last = max((row["step"] for row in rows), default=0)
        texts = [row["text"] for row in rows if row["step"] == last and row["text"].strip()]
        found.setdefault(run.tags["variant"], []).extend(texts)
    if not found:
        raise InputError(f"study {study!r} has no sentences yet; wait for a run to end")
    if kind == "real":
        if trained is None:
            raise InputError(f"study {study!r}: all its runs are imported, without real text")
        corpus = corpus_of(tracker, trained.run_id)
        found[REAL] = [" ".join(words) for words in corpus.test.sentences(500)]
    return found


def questions(tracker: Tracker, study: str, kind: str, rater: str, n: int) -> Questions:
    """The comparisons that a rater has not answered yet, in the rater's order."""
    given = answers(tracker.store_dir, study)
    done = {each.number for each in given if (each.rater, each.kind) == (rater, kind)}
    made = comparisons(study, kind, sources(tracker, study, kind), n)
    return [(each, swapped) for each, swapped in session(made, rater) if each.number not in done]


def recorder(tracker: Tracker, study: str, kind: str, rater: str) -> OnAnswer:
    """A function that keeps a rater's answers."""

    def record(comparison: Comparison, side: int | None) -> None:
        first, second = comparison.first_source, comparison.second_source
        preferred = TIE if side is None else (first, second)[side]
        answer = Answer(study, kind, rater, comparison.number, first, second, preferred)
        keep(tracker.store_dir, answer)

    return record


def ask_in_terminal(asked: Questions, kind: str, record: OnAnswer) -> None:
    """Ask until the last question or until the rater stops."""
    for number, (comparison, swapped) in enumerate(asked, start=1):
        stderr.print(f"\n{number} of {len(asked)}")
        texts = [comparison.first, comparison.second]
        for key, text in zip("12", texts[::-1] if swapped else texts, strict=True):
            stderr.print(f"  {key}  {text}", markup=False)
        said = ""
        while said not in (*SIDES, STOP):
            prompt = f"{QUESTIONS[kind]} 1, 2, = for neither, q to stop"
            said = typer.prompt(prompt, err=True).strip().lower()
        if said == STOP:
            return
        side = SIDES[said]
        record(comparison, side if side is None else side ^ int(swapped))


def publish(tracker: Tracker, study: str) -> dict[str, Any]:
    """Log the results to the study's run and to its variants' runs."""
    found = results(tracker, study)
    given: list[Answer] = answers(tracker.store_dir, study)
    parent = tracker.continue_run(study_run(tracker, study).run_id)
    lines = "\n".join(json.dumps(vars(answer), ensure_ascii=False) for answer in given)
    parent.log_text(lines + "\n", "judgements/answers.jsonl")
    parent.log_text(json.dumps(found, indent=2, ensure_ascii=False), "judgements/results.json")
    for name in ("agreement", "kappa"):
        if found[name] is not None:
            parent.log_metrics(_metrics(f"human/{name}", found[name]), len(given))
    parent.finish("ok")
    for variant in tracker.runs(study, tags={"level": "variant"}):
        if variant.name in found["preferred"]:
            record = tracker.continue_run(variant.run_id)
            values = _metrics("human/preferred", found["preferred"][variant.name])
            record.log_metrics(values, len(given))
            record.finish("ok")
    return found


def _metrics(name: str, found: dict[str, float]) -> dict[str, float | None]:
    return {name: found["value"], f"{name}_low": found["low"], f"{name}_high": found["high"]}


def show(found: dict[str, Any]) -> None:
    """Print preferences, agreement and correlations."""
    rows = [
        [name, f"{one['value']:.3f}", interval(one["low"], one["high"], ".3f")]
        for name, one in found["preferred"].items()
    ]
    title = f"{found['study']}: {found['answers']} answers of {len(found['raters'])} raters"
    stdout.print(table(["variant", "preferred", "95% interval"], rows, title))
    if found["agreement"] is None:
        stderr.print("agreement: needs two raters of the same comparisons, and different answers")
    for name, words in (("agreement", "Krippendorff's alpha"), ("kappa", "Cohen's kappa")):
        if (one := found[name]) is not None:
            bounds = interval(one["low"], one["high"], ".3f")
            stderr.print(f"agreement ({words}): {one['value']:.3f}, {bounds}")
    related = sorted(found["correlations"].items(), key=lambda item: -abs(item[1]["rho"]))
    if related:
        rows = [
            [name, f"{one['rho']:+.2f}", f"{one['p']:.3f}", f"{one['p_adjusted']:.3f}",
             str(one["variants"])]
            for name, one in related
        ]  # fmt: skip
        stdout.print(table(["metric", "Spearman's rho", "p", "p adjusted", "variants"], rows))
