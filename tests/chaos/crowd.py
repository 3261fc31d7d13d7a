"""Many workers at once: every trial and every metric is there, once, and in its own study."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from optuna.trial import TrialState

from core.config import Config
from core.tracking.mlflow_store import open_tracker
from core.tracking.protocol import RunRecord, Tracker
from studies import queue as jobs
from studies.definition import load_study
from studies.execute import begin, work
from tests.chaos import children
from tests.chaos.children import child
from tests.chaos.tally import Tally
from tests.chaos.world import Say, World
from tests.conftest import ROOT
from variants import registry

FILE = ROOT / "experiments" / "smoke" / "card_axes.toml"
JOBS, STEPS = 12, 15
TWO = ("one", "two")
WORKERS = 4  # for each of two studies


def crowds(world: World, times: int, say: Say) -> Tally:
    """Eight workers, four for each of two studies, on one SQLite store."""
    world.prepare()
    tally = Tally(f"{2 * WORKERS} workers on one SQLite store, two studies")
    url = f"sqlite:///{world.world}/optuna.db"
    while tally.tried < times:
        world.fresh()
        ended = [child(partial(begin_study, world.uri, url, name), world.folder) for name in TWO]
        started = [
            children.begin(partial(work_on, world.uri, url, name), world.folder)
            for name in TWO
            for _ in range(WORKERS)
        ]
        ended += [wait() for wait in started]
        ended += [child(partial(faults_of, world.uri, url, name), world.folder) for name in TWO]
        wrong = [end.words or "hung" for end in ended if end.words or end.hung]
        wrong += [fault for end in ended[-2:] for fault in end.answer or []]
        tally.count(wrong)
        tally.note(f"{2 * JOBS} trials of {STEPS} steps each time")
        say(tally)
    return tally


def begin_study(uri: str, url: str, name: str) -> None:
    study = load_study(FILE, [f"study.name='{name}'"], registry())
    begin(study, name, open_tracker(uri), url, "textgan study")


def work_on(uri: str, url: str, name: str) -> None:
    work(name, open_tracker(uri), url, _train, registry())  # type: ignore[arg-type]


def faults_of(uri: str, url: str, name: str) -> list[str]:
    """What is missing, double, or another study's."""
    tracker = open_tracker(uri)
    trials = jobs.load_queue(name, url).get_trials(deepcopy=False)
    done = [t for t in trials if t.state == TrialState.COMPLETE]
    keys = {(t.user_attrs["variant"], t.user_attrs["seed"]) for t in done}
    runs = [r for r in tracker.runs(name) if r.tags.get("level") == "seed"]
    found = []
    if (len(done), len(keys), len(runs)) != (JOBS, JOBS, JOBS):
        found.append(f"{name}: {len(done)} trials, {len(keys)} jobs, {len(runs)} runs of {JOBS}")
    if {t.user_attrs["run_id"] for t in done} != {r.run_id for r in runs}:
        found.append(f"{name}: trials and runs do not belong together")
    for record in runs:
        wanted = [(step, step / 7) for step in range(STEPS)]
        if tracker.history(record.run_id, "m") != wanted or record.tags["study"] != name:
            found.append(f"{name}: run {record.name} has lost or foreign metrics")
    return found


def _train(
    config: Config | None,
    *,
    tracker: Tracker,
    experiment: str,
    name: str,
    parent_id: str | None,
    tags: Mapping[str, str],
    resume: str | None,
    started: Callable[[str], None],
    **_: Any,
) -> RunRecord:
    """Stands for training: only what is kept matters here."""
    record = tracker.start_run(
        experiment, name, params={}, tags={**tags, "seed": name.split()[-1]}, parent_id=parent_id
    )
    started(record.run_id)
    for step in range(STEPS):
        record.log_metrics({"m": step / 7, "eval/ms_jaccard_2": 0.5}, step)
    record.finish("ok")
    return tracker.run(record.run_id)
