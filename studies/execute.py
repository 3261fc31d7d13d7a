"""Running a study: Optuna holds the queue of (variant, seed), workers take from it, MLflow records.

The driver makes everything once (experiment, parent run, a run for each variant, the queue) before
any worker starts. A trial is one training run; its MLflow run id stands in the trial, so a retry
goes on with the same run from its checkpoint. Workers are the same whether in this process, in
others on this machine, or elsewhere.
"""

from __future__ import annotations

import json
import subprocess
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import optuna
from filelock import FileLock
from optuna.trial import FrozenTrial, TrialState

from core.config import Config
from core.errors import InputError, MachineError
from core.tracking.protocol import Tracker
from studies.definition import Study, from_definition

HEARTBEAT_SECONDS = 60
GRACE_SECONDS = 180
POLL_SECONDS = 0.5


class RunResult(Protocol):
    """What a training run answers."""

    @property
    def outcome(self) -> str:
        """How it ended."""
        ...

    @property
    def metrics(self) -> Mapping[str, float | None]:
        """Its last evaluation."""
        ...


class Train(Protocol):
    """Trains one configuration; `experiments.runner.run` is the one there is."""

    def __call__(
        self,
        config: Config | None,
        *,
        tracker: Tracker,
        experiment: str,
        name: str,
        parent_id: str | None,
        tags: Mapping[str, str],
        resume: str | None,
        started: Callable[[str], None],
    ) -> RunResult:
        """Train and record under the study's experiment."""
        ...


@dataclass(frozen=True)
class Progress:
    """Runs of a study by state."""

    done: int
    failed: int
    total: int


Watch = Callable[[Progress], None]


class LockedStorage(optuna.storages.RDBStorage):
    """Optuna on SQLite, which has no row locks: without a lock two workers that ask at the same
    moment are both handed the same waiting trial.
    """

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Change a trial's state while no other process does."""
        with FileLock(self.url.removeprefix("sqlite:///") + ".lock"):
            return super().set_trial_state_values(trial_id, state, values)


def storage_url(tracker: Tracker) -> str:
    """Optuna's storage beside the tracking store."""
    return f"sqlite:///{tracker.world / 'optuna.db'}"


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Optuna's storage with heartbeats, so that a lost trial is tried again."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    made = LockedStorage if url.startswith("sqlite:///") else optuna.storages.RDBStorage
    try:
        return made(url, heartbeat_interval=HEARTBEAT_SECONDS, grace_period=GRACE_SECONDS)
    except Exception as error:  # noqa: BLE001 - each SQL driver raises its own
        first = str(error).splitlines()[0]
        raise MachineError(f"{url}: the study's storage does not open ({first})") from None


def free_name(wanted: str, tracker: Tracker) -> str:
    """The name, numbered when an experiment has it already."""
    taken = set(tracker.experiments())
    numbered = (f"{wanted}-{number}" for number in range(2, len(taken) + 3))
    return wanted if wanted not in taken else next(n for n in numbered if n not in taken)


def begin(study: Study, name: str, tracker: Tracker, url: str, command: str) -> None:
    """Create the experiment, the parent run, a run for each variant, and the queue."""
    shared = {"study": name, "kind": study.table.kind}
    parent = tracker.start_run(
        name, name, params={"metric": study.table.metric}, tags={**shared, "level": "study"}
    )
    axes = "\n".join(f"- **{k}**: {', '.join(map(_label, v))}" for k, v in study.table.axes.items())
    parent.describe(
        f"{study.table.question}\n\n{axes}\n\n{len(study.variants)} variants x "
        f"{len(study.table.seed_list())} seeds, ranked by `{study.table.metric}`.\n\n"
        f"Again: `{command}`"
    )
    parent.log_text(json.dumps(study.tables, indent=2), "study.json")
    parents = {}
    for variant in study.variants:
        record = tracker.start_run(
            name,
            variant.name,
            params=dict(variant.values),
            tags={**shared, "level": "variant", "variant": variant.name},
            parent_id=parent.run_id,
        )
        parents[variant.name] = record.run_id
    queue = optuna.create_study(storage=open_storage(url), study_name=name)
    queue.set_user_attr("definition", study.definition())
    queue.set_user_attr("parent_run_id", parent.run_id)
    queue.set_user_attr("variant_run_ids", parents)
    for seed in study.table.seed_list():  # seeds outermost: every variant early
        for variant in study.variants:
            _enqueue(queue, variant.name, seed, None)


def resume(name: str, url: str, study: Study | None) -> None:
    """Queue again what is missing: runs that failed, and runs whose worker died."""
    queue = load_queue(name, url)
    if study is not None and json.loads(study.definition()) != json.loads(
        queue.user_attrs["definition"]
    ):
        raise InputError(
            f"study {name!r} was begun with another definition; give the same file and --set, or "
            f"leave out --resume to begin a new study"
        )
    latest: dict[tuple[str, int], FrozenTrial] = {}
    for trial in planned(queue):
        latest[trial.user_attrs["variant"], trial.user_attrs["seed"]] = trial
    for (variant, seed), trial in latest.items():
        if trial.state == TrialState.RUNNING:
            queue.tell(trial.number, state=TrialState.FAIL)
        if trial.state in (TrialState.RUNNING, TrialState.FAIL):
            _enqueue(queue, variant, seed, trial.user_attrs.get("run_id"))


def work(name: str, tracker: Tracker, url: str, train: Train, resolver: Any) -> None:
    """Take runs from the queue until it is empty."""
    queue = load_queue(name, url)
    study = from_definition(queue.user_attrs["definition"], resolver)
    configs = {variant.name: variant.config for variant in study.variants}
    parents = queue.user_attrs["variant_run_ids"]

    def objective(trial: optuna.Trial) -> float:
        attributes = trial.user_attrs
        if "variant" not in attributes:  # the queue ran dry between the look and the take
            trial.study.stop()
            raise optuna.TrialPruned
        variant, seed = attributes["variant"], attributes["seed"]
        run_id = attributes.get("run_id")
        config = configs[variant].model_copy(update={"seed": seed})
        try:
            result = train(
                None if run_id else config,
                tracker=tracker,
                experiment=name,
                name=f"{variant} · seed {seed}",
                parent_id=parents[variant],
                tags={"study": name, "variant": variant, "level": "seed"},
                resume=run_id,
                started=lambda identity: trial.set_user_attr("run_id", identity),
            )
        except Exception as error:
            trial.set_user_attr("error", f"{type(error).__name__}: {error}")
            raise
        trial.set_user_attr("outcome", result.outcome)
        value = result.metrics.get(study.table.metric)
        return value if value is not None else float("-inf")

    while queue.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        queue.optimize(objective, n_trials=1, catch=(Exception,))


def drive(
    name: str,
    url: str,
    workers: int,
    run_worker: Callable[[], None],
    command: Sequence[str],
    watch: Watch,
) -> None:
    """Work here with one worker, or start `workers` processes of `command` and watch them."""
    queue = load_queue(name, url)
    if workers == 1:
        run_worker()
        watch(count(queue))
        return
    processes = [subprocess.Popen(command) for _ in range(workers)]
    try:
        while any(process.poll() is None for process in processes):
            watch(count(queue))
            time.sleep(POLL_SECONDS)
        watch(count(queue))
    except BaseException:
        for process in processes:
            process.wait()  # the terminal's interrupt reached them too; they end after their step
        raise
    broken = [process.returncode for process in processes if process.returncode]
    if broken and not count(queue).done:
        raise MachineError(f"every worker of study {name!r} failed (exit status {broken[0]})")


def failures(name: str, url: str) -> list[str]:
    """A line for each run that broke and was not made good."""
    latest = {
        (t.user_attrs["variant"], t.user_attrs["seed"]): t for t in planned(load_queue(name, url))
    }
    return [
        f"{variant}, seed {seed}: {trial.user_attrs.get('error', 'its worker died')}"
        for (variant, seed), trial in latest.items()
        if trial.state == TrialState.FAIL
    ]


def load_queue(name: str, url: str) -> optuna.Study:
    """The queue of a study; InputError when there is none."""
    storage = open_storage(url)
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        known = ", ".join(optuna.get_all_study_names(storage)) or "none yet"
        raise InputError(f"no study {name!r}; known: {known}") from None


def planned(queue: optuna.Study) -> list[FrozenTrial]:
    """The trials that stand for a (variant, seed), oldest first."""
    return [t for t in queue.get_trials(deepcopy=False) if "variant" in t.user_attrs]


def count(queue: optuna.Study) -> Progress:
    """How far the queue has come, each (variant, seed) once."""
    latest = {(t.user_attrs["variant"], t.user_attrs["seed"]): t.state for t in planned(queue)}
    states = list(latest.values())
    return Progress(states.count(TrialState.COMPLETE), states.count(TrialState.FAIL), len(states))


def _enqueue(queue: optuna.Study, variant: str, seed: int, run_id: str | None) -> None:
    attributes = {"variant": variant, "seed": seed, **({"run_id": run_id} if run_id else {})}
    queue.enqueue_trial({}, user_attrs=attributes)


def _label(value: Any) -> str:
    return str(value.get("name")) if isinstance(value, Mapping) else str(value)
