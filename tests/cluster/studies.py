"""Studies of tiny runs, as files and as facts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import tomli_w
from optuna.trial import FrozenTrial, TrialState

from core.config import override, read_toml
from core.tracking.protocol import Tracker
from studies.running.queue import load_queue
from tests.conftest import ROOT

SMOKE = ROOT / "experiments" / "smoke" / "design_axes.toml"
TINY = ["model.length=8", "train.updates=2", "train.batch_size=4", "evaluation.every=2",
        "evaluation.sentences=20", "evaluation.references=20", "evaluation.gradients=0",
        "corpus.difficulty=easy", "corpus.sentences=300", "train.checkpoint_every=1",
        "generator.width=8", "generator.heads=2", "generator.hidden=8", "discriminator.width=8",
        "discriminator.heads=2", "discriminator.hidden=8"]  # fmt: skip


def tiny_study(place: Path, *overrides: str) -> Path:
    """A study file of runs that train in a blink."""
    tables = override(read_toml(SMOKE), [*TINY, *overrides])
    place.write_text(tomli_w.dumps(tables))
    return place


def attempts(name: str, url: str, state: TrialState = TrialState.COMPLETE) -> list[FrozenTrial]:
    trials = load_queue(name, url).get_trials(deepcopy=False, states=(state,))
    return [trial for trial in trials if "variant" in trial.user_attrs]


def faults(tracker: Tracker, name: str, url: str, jobs: int) -> list[str]:
    """What of a study that has ended is missing, double, or not whole."""
    ended = attempts(name, url)
    times = Counter((t.user_attrs["variant"], t.user_attrs["seed"]) for t in ended)
    runs = tracker.runs(name, tags={"level": "seed"})
    wrong = [f"{key}: {count} times" for key, count in times.items() if count != 1]
    if (len(times), len(runs)) != (jobs, jobs):
        wrong.append(f"{len(times)} jobs and {len(runs)} runs of {jobs}")
    if {t.user_attrs["run_id"] for t in ended} != {run.run_id for run in runs}:
        wrong.append("trials and runs do not belong together")
    for run in runs:
        steps = [step for step, _ in tracker.history(run.run_id, "eval/unique")]
        if run.status != "FINISHED" or run.outcome not in ("ok", "collapsed") or steps != [0, 2]:
            wrong.append(f"{run.name}: {run.status}, {run.outcome}, evaluated at {steps}")
        if not (tracker.model(run.run_id) / "generator.safetensors").exists():
            wrong.append(f"{run.name}: no model")
        if not tracker.artifact(run.run_id, "samples.json").exists():
            wrong.append(f"{run.name}: no sentences")
    return wrong


def started_at(trial: FrozenTrial) -> int:
    """The process that had it."""
    return int(trial.user_attrs["process"][1])
