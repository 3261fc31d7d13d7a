"""Sections on the runs of a study: cost, failures, samples, and how to reproduce them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from core.addresses import shown
from core.config.renamed import current_text
from core.plural import count
from core.tracking.protocol import ENDED, WORST, RunRecord, read_tag
from studies.sections import Reading, Section, samples_of

APART = ("evaluation_seconds", "evaluating")  # tag, and its old name: seconds of evaluations
BAD = (*WORST, "killed", "failed")
VARIANTS, STEPS, LATENTS = 4, 5, 8  # of the samples
EMPTY = "(empty)"
SHORT = 16  # characters of a commit or fingerprint
Texts = Mapping[int, Mapping[int, str]]  # step -> latent -> sentence
T = TypeVar("T")


def cost(reading: Reading) -> Iterator[Section]:
    """Seconds and updates of every variant, to judge whether a comparison is fair, and the
    machine; none if no run has ended.
    """
    rows = []
    for row in reading.board.rows:
        ended = reading.runs_of(row)
        seconds, updates = _numbers(ended, "seconds"), _numbers(ended, "updates")
        if updates and sum(seconds):  # a tag has tenths of a second
            apart = (
                f"{np.mean(_numbers(ended, *APART)):.1f}" if counted_apart(ended) else "included"
            )
            rows.append(
                [row.variant, f"{np.mean(updates):.0f}", f"{np.mean(seconds):.1f}",
                 f"{min(seconds):.1f} to {max(seconds):.1f}",
                 f"{sum(updates) / sum(seconds):.3g}", apart]
            )  # fmt: skip
    if not rows:
        return
    runs, trials = reading.seeds, reading.trials
    everything = [*runs, *reading.trial_runs]
    devices = sorted({run.tags["device"] for run in everything if "device" in run.tags})
    evaluated = duration(sum(_numbers(everything, *APART)))
    values = {
        "budget": f"Budget per run: {reading.table.spent}. " if reading.table.budget else "",
        "runs": " and ".join(
            count(len(found), name) for found, name in ((runs, "run"), (trials, "trial")) if found
        ),
        "seconds": duration(sum(_numbers(everything, "seconds"))),
        "evaluations": f"and {evaluated} of evaluations"
        if counted_apart(everything) else "with evaluations",
        "devices": ", ".join(devices) or "an unknown device",
    }  # fmt: skip
    columns = ["variant", "updates", "seconds per run", "range", "updates per second",
               "evaluation, s"]  # fmt: skip
    yield Section("cost", columns, rows, values=values)


def counted_apart(runs: Iterable[RunRecord]) -> bool:
    """Whether the seconds of these runs are of updates only; older ones include evaluations."""
    return all(run.tags.keys() & set(APART) for run in runs if run.outcome in ENDED)


def duration(seconds: float) -> str:
    """`48 s`, `12.5 min`, `3.2 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _numbers(runs: Iterable[RunRecord], *tags: str) -> list[float]:
    return [read_tag(run, tag, float) for run in runs for tag in tags if tag in run.tags]


def failures(reading: Reading) -> Iterator[Section]:
    """Every run that did not end well; none if all did."""
    bad = [run for run in reading.seeds if _outcome(run) in BAD]
    if not bad:
        return
    bad.sort(key=lambda run: (BAD.index(_outcome(run)), run.name))
    rows = [
        [_outcome(run), run.tags.get("variant", run.name), run.tags.get("seed", ""),
         run.tags.get("updates", ""), run.tags.get("reason", ""), run.run_id[:8]]
        for run in bad
    ]  # fmt: skip
    columns = ["outcome", "variant", "seed", "updates", "reason", "run"]
    yield Section("failures", columns, rows)


def _outcome(run: RunRecord) -> str:
    if run.outcome is not None:
        return run.outcome
    return {"FAILED": "failed", "KILLED": "killed"}.get(run.status, "running")


def samples(reading: Reading) -> Iterator[Section]:
    """Samples of several variants, and of the best during training; none if no run kept any."""
    rows = reading.board.rows
    seeds = sorted(set.intersection(*(set(row.seed_runs) for row in rows))) if rows else []
    if not seeds:
        return
    seed = seeds[0]
    texts = {row.variant: _texts(reading, row.seed_runs[seed]) for row in _evenly(rows, VARIANTS)}
    texts = {variant: found for variant, found in texts.items() if found}
    if not texts:
        return
    last = {variant: found[max(found)] for variant, found in texts.items()}
    best, found = next(iter(texts.items()))
    through = {f"after {step}": found[step] for step in _evenly(sorted(found), STEPS)}
    yield Section("sentences", ["", *last], _side_by_side(last), values={"seed": seed})
    values = {"best": best, "seed": seed}
    yield Section("training", ["", *through], _side_by_side(through), values=values)


def _evenly(found: Sequence[T], most: int) -> list[T]:
    """The first, the last, and some evenly between, at most so many."""
    if len(found) <= most:
        return list(found)
    return [found[round(i * (len(found) - 1) / (most - 1))] for i in range(most)]


def _texts(reading: Reading, run_id: str) -> Texts:
    found: dict[int, dict[int, str]] = {}
    for each in samples_of(reading.tracker, run_id):
        found.setdefault(int(each["step"]), {})[int(each["row"])] = each["text"]
    return found


def _side_by_side(columns: Mapping[str, Mapping[int, str]]) -> list[list[str]]:
    """A row for each latent."""
    latents = sorted({latent for column in columns.values() for latent in column})[:LATENTS]
    return [
        [f"#{latent}", *(column.get(latent, "") or EMPTY for column in columns.values())]
        for latent in latents
    ]


def reproduce(reading: Reading) -> Section:
    """Command, commit, versions, device and data of the study's runs."""
    board, runs = reading.board, reading.seeds
    parent = reading.parent
    command = current_text(parent.tags.get("command", ""))
    if command and "seeds_added" in parent.tags:  # the last --set of a key counts
        command += f" --set study.seeds={json.dumps(reading.table.seeds, separators=(',', ':'))}"
    lines = [f"    {command}"] if command else []
    if board.rows:
        best = next(iter(board.rows[0].seed_runs.values()))
        lines.append(f"    textgan reproduce {best[:8]}")
    tags = {"commit": "git_commit", "corpus": "corpus", "device": "device", "versions": "versions"}
    rows = [[title, value] for title, tag in tags.items() for value in _distinct(runs, tag)]
    rows.append(["store", shown(reading.tracker.uri)])
    rows.append(["study's run", board.parent_run_id])
    return Section("again", ["", ""], rows, values={"commands": "\n".join(lines)})


def _distinct(runs: Iterable[RunRecord], tag: str) -> list[str]:
    found = sorted({run.tags[tag] for run in runs if tag in run.tags})
    if tag == "git_commit":
        return [value[:SHORT] + ("+dirty" if value.endswith("+dirty") else "") for value in found]
    return [value[:SHORT] for value in found] if tag == "corpus" else found
