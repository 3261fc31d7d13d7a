"""A study of one variant that really trains, and all that can be said of it: two seeds one after
the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from core.tracking.mlflow_store import open_tracker
from core.training import checkpoint
from core.training.checkpoint import Checkpoint
from core.training.state import TrainingState
from experiments.single_run import run as single_run
from experiments.single_run import session
from studies.definition import load_study
from studies.plan import Limit
from studies.running import execute, storage
from studies.running import queue as jobs
from tests.chaos import runs
from tests.conftest import ROOT
from variants import registry

NAME = "killed"
FILE = ROOT / "experiments" / "smoke" / "design_axes.toml"
ONE = ('study.axes.next_input=["noise"]', 'study.axes.sampling=["gumbel_softmax"]',
       'study.axes.noise_mapping=["full"]', f"study.name='{NAME}'",
       "model.length=8", "train.batch_size=4", "evaluation.sentences=20",
       "evaluation.references=20", "corpus.difficulty='easy'", "corpus.sentences=300",
       *runs.CONFIG)  # fmt: skip


def begin_study(uri: str, url: str) -> bool:
    study = load_study(FILE, [*ONE, "study.seeds=2"], registry())
    execute.begin(study, NAME, open_tracker(uri), url, "textgan study", Limit())
    return True


def work_on(uri: str, url: str, by_heartbeat: bool) -> list[int]:
    """Work until there is nothing to do; the updates from which unfinished runs went on."""
    storage.HEARTBEAT_SECONDS, execute.POLL_SECONDS = 1, 0.1
    storage.GRACE_SECONDS = jobs.GRACE_SECONDS = 3
    if by_heartbeat:  # as seen from another machine
        jobs.mark_mine = _elsewhere
    went_on: list[int] = []
    whole = session.restore

    def restore(state: TrainingState, saved: Checkpoint, path: Path, remedy: str) -> None:
        went_on.append(saved.counters.update)
        whole(state, saved, path, remedy)

    session.restore = restore
    execute.work(NAME, open_tracker(uri), url, single_run.run, registry(), None)  # type: ignore[arg-type]
    return sorted(went_on)


def _elsewhere(trial: optuna.Trial) -> None:
    trial.set_user_attr("process", ["elsewhere", 1, trial.number])


def checkpoints(store_dir: Path) -> list[int]:
    """Updates of the checkpoints of runs that have not ended."""
    found = [
        checkpoint.read(folder / "checkpoint.safetensors")
        for folder in (store_dir / "runs").glob("*")
        if not (folder / "result.json").exists()
    ]
    return sorted(each.counters.update for each in found if each is not None)


def facts(uri: str, url: str) -> dict[str, Any]:
    """Each job's run and result; how many trials have which job."""
    tracker = open_tracker(uri)
    trials = jobs.planned(jobs.load_queue(NAME, url))
    done = {t.user_attrs["seed"]: t for t in trials if t.state == TrialState.COMPLETE}
    records = tracker.runs(NAME, tags={"level": "seed"})
    return {
        "jobs": sorted(done),
        "completed": sum(t.state == TrialState.COMPLETE for t in trials),
        "open": sum(not t.state.is_finished() for t in trials),
        "runs": sorted(record.tags["seed"] for record in records),
        "values": [done[seed].value for seed in sorted(done)],
        "own": [done[int(r.tags["seed"])].user_attrs["run_id"] == r.run_id for r in records],
        **{f"seed {r.tags['seed']}": runs.facts_of(tracker, r) for r in records},
    }


def differences(found: dict[str, Any] | None, expected: dict[str, Any]) -> list[str]:
    """Which facts differ, those of a run by name."""
    found = found or {}
    wrong = [key for key in expected if found.get(key) != expected[key]]
    inner = [key for key in wrong if isinstance(expected[key], dict) and key in found]
    named = [
        f"{key}: {fact}" for key in inner for fact in runs.differences(found[key], expected[key])
    ]
    return [key for key in wrong if key not in inner] + named
