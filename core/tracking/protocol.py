"""The interface of a tracker, and the records that it gives.

Study = experiment and a parent run; variant = its child; seed = the variant's child. Values go in
by step and are read back by run; nothing here blocks a training step.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import shlex
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from core.config.renamed import current_params, stored_keys
from core.errors import DeletedError, InputError, nearest
from core.plural import count
from core.tracking.rendering import Sample, sample_files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IDENTITY = "textgan.identity"  # the tag with a run's local id, which it has before the store's
PARENT = "mlflow.parentRunId"  # the tag with the id of a run's parent
EXTENDED = "extended."  # before a setting: the tag with its value since the run goes further
NOTE = "mlflow.note.content"  # the tag with a description
LONGEST_DESCRIPTION = 8000
MLFLOWS_OWN = "Default"  # an experiment that every store of MLflow has
OF_STUDY = {"level": "study"}  # tags of a study's own run
SHORTEST_ID = 4  # characters of an id that find a run, if only one begins so
Tags = Mapping[str, str]
T = TypeVar("T")
Outcome = Literal["ok", "diverged", "collapsed", "killed", "failed"]
STATUS: Mapping[Outcome, str] = {  # MLflow's, of each outcome
    "ok": "FINISHED", "diverged": "FINISHED", "collapsed": "FINISHED",
    "killed": "KILLED", "failed": "FAILED",
}  # fmt: skip
WORST = ("diverged", "collapsed")  # outcomes of runs that failed; they keep their scores
ENDED = ("ok", *WORST)  # outcomes with a result; a killed or failed run has none


def own_tags(tags: Tags, identity: str, parent: str | None) -> dict[str, str]:
    """The tags of a new run: the given ones, its identity, its parent if it has one, and what the
    UI shows as its user and source.
    """
    source = f"textgan study {tags['study']}" if "study" in tags else "textgan run"
    own = {"mlflow.source.name": source, "mlflow.source.type": "LOCAL", IDENTITY: identity}
    with contextlib.suppress(KeyError, OSError):  # a container may know no user
        own["mlflow.user"] = getpass.getuser()
    return {**own, **tags, **({PARENT: parent} if parent else {})}


@dataclass(frozen=True)
class RunLabels:
    """Where a run is filed in the store: its experiment, its name, its parent run, its tags."""

    experiment: str = "runs"
    name: str | None = None  # None: system and seed
    parent_id: str | None = None
    tags: Tags = field(default_factory=dict)


@dataclass(frozen=True)
class Columns:
    """Which columns to read of many runs: keys, or prefixes that end in `*`; None reads all.

    A store may return more columns than these, never fewer. The parent's id is always read.
    """

    tags: tuple[str, ...] | None = None
    params: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None

    def of(self, kind: str) -> tuple[str, ...] | None:
        """The keys of `tags`, `params` or `metrics`."""
        keys: tuple[str, ...] | None = getattr(self, kind)
        if keys is None:
            return None
        if kind == "params":
            return tuple(stored for key in keys for stored in stored_keys(key))
        return (*keys, PARENT) if kind == "tags" else keys


@dataclass(frozen=True)
class View:
    """A page of an experiment's runs, stored for the UI."""

    name: str
    runs: str  # a filter in MLflow's words
    sort: str  # a metric
    ascending: bool
    columns: tuple[str, ...] = ()  # as MLflow names them: metrics.`score`
    charts: Mapping[str, Sequence[str]] = field(default_factory=dict)  # section -> first metrics
    curves: bool = False  # charts are curves, as means over the seeds of a variant, not bars


ALL = Columns()
NONE = Columns((), (), ())


@dataclass(frozen=True)
class RunRecord:
    """A run as read back from the store; parameters have today's keys, whatever was stored."""

    run_id: str
    experiment: str
    name: str
    status: str  # RUNNING, FINISHED, FAILED, KILLED
    tags: Tags = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)  # last values
    start: int = 0  # milliseconds since 1970
    end: int | None = None
    deleted: bool = False  # in the trash

    def __post_init__(self) -> None:
        known = {key: value for key, value in self.tags.items() if key.startswith(EXTENDED)}
        further = {key.removeprefix(EXTENDED): value for key, value in known.items()}
        object.__setattr__(self, "params", {**current_params(self.params), **further})

    @property
    def parent_id(self) -> str | None:
        """The id of the parent run."""
        return self.tags.get(PARENT)

    @property
    def variant(self) -> str:
        """The variant of a study that the run belongs to; a run's name may be edited."""
        return self.tags.get("variant", self.name)

    @property
    def study(self) -> str:
        """The name under which the run's study was begun, which its queue has; an experiment may
        be renamed.
        """
        return self.tags.get("study", self.experiment)

    @property
    def outcome(self) -> str | None:
        """The tag `outcome`, None while the run is unfinished."""
        return self.tags.get("outcome")


@dataclass(frozen=True)
class SyncResult:
    """The result of a sync: runs delivered, in use by another process, or not accepted."""

    delivered: int
    busy: tuple[str, ...] = ()
    away: Mapping[str, str] = field(default_factory=dict)  # run id -> the store's error


@dataclass(frozen=True)
class Leftover:
    """What `gc` may remove permanently: a deleted run, or files that belong to no run."""

    run_id: str
    name: str
    size: int  # bytes
    known: bool  # whether the store has the run


class RunTracker(ABC):
    """One run, being written. Only `flush` and `finish` wait for the store."""

    run_id: str
    rejected: str | None = None  # why the store does not take the run, as of the last `flush`

    @abstractmethod
    def log_metrics(self, values: Mapping[str, float | None], step: int) -> None:
        """Values of one step; None is left out. A metric that has a value at this step keeps it,
        so a resumed run may log again what it logged before it died.
        """

    @abstractmethod
    def log_params(self, params: Mapping[str, object]) -> None:
        """Parameters; they cannot be changed later."""

    @abstractmethod
    def set_tags(self, tags: Tags) -> None:
        """Tags; a later value replaces an earlier one."""

    @abstractmethod
    def log_file(self, path: str, make: Callable[[Path], object]) -> None:
        """An artifact, which `make` writes to the place that it is given."""

    @abstractmethod
    def log_dataset(self, name: str, fingerprint: str, source: str, split: str) -> None:
        """A split of the data: `training`, `validation` or `test`."""

    @abstractmethod
    def log_model(self, folder: Path, step: int = 0, *, kept: bool = False) -> None:
        """The folder's files as a model that samples text: the run's own, or with `kept` that of
        another checkpoint. It is named after the run, and has the scores that were logged at the
        step, by the split that they are of.
        """

    @abstractmethod
    def history(self, metric: str) -> list[tuple[int, float]]:
        """All (step, value) of one metric of this run, delivered or not."""

    @abstractmethod
    def persist(self) -> None:
        """Return when everything written so far is on disk."""

    @abstractmethod
    def flush(self) -> bool:
        """Wait a bounded time for delivery; False if it is incomplete. The rest stays on disk for
        the run's next process, or for `MlflowTracker.sync`.
        """

    @abstractmethod
    def end(self, status: str) -> None:
        """Set the final status; wait a bounded time for delivery."""

    def finish(self, outcome: Outcome, reason: str = "") -> None:
        """End the run with its outcome; wait a bounded time for delivery."""
        self.set_tags({"outcome": outcome, **({"reason": reason} if reason else {})})
        self.end(STATUS[outcome])

    def describe(self, markdown: str) -> None:
        """The run's description."""
        self.set_tags({NOTE: markdown[:LONGEST_DESCRIPTION]})

    def log_samples(self, samples: Sequence[Sample]) -> None:
        """All samples so far, as a table for the UI, as a page and as text."""
        for path, text in sample_files(samples).items():
            self.log_text(text, path)
        # With this tag the UI shows the file as a table and compares it across runs.
        tables = json.dumps([{"path": "samples.json", "type": "table"}])
        self.set_tags({"mlflow.loggedArtifacts": tables})

    def log_text(self, text: str, path: str) -> None:
        """A text artifact."""
        self.log_file(path, lambda place: place.write_text(text, encoding="utf-8"))

    def log_files(self, folder: Path) -> None:
        """Every file below `folder`, under its relative path."""
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.log_file(str(file.relative_to(folder)), partial(shutil.copyfile, file))

    def log_figure(self, figure: Figure, path: str) -> None:
        """A figure as PNG. Not by `savefig`, which draws it twice."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        figure.set_dpi(150)
        self.log_file(path, FigureCanvasAgg(figure).print_png)


class Tracker(Protocol):
    """A store of runs."""

    uri: str
    store_dir: Path  # the folder next to the store: checkpoints, corpora, journals, queues
    read_only: bool  # whether this process may only read it

    def start_run(
        self,
        experiment: str,
        name: str,
        *,
        params: Mapping[str, object],
        tags: Tags,
        parent_id: str | None = None,
        identity: str | None = None,
    ) -> RunTracker:
        """A new run. With an `identity` (32 hexadecimal digits), the experiment's run of that
        identity if there is one.
        """

    def continue_run(self, run_id: str) -> RunTracker:
        """Open an existing run for writing; DeletedError if it is deleted."""

    def experiments(self, *, deleted: bool = False) -> list[str]:
        """Names of all experiments, without MLflow's own; `deleted`: every name that is taken, also
        by an experiment in the trash.
        """

    def runs(
        self,
        experiment: str | None = None,
        *,
        tags: Tags | None = None,
        columns: Columns = ALL,
        deleted: bool = False,
    ) -> list[RunRecord]:
        """All runs (of one experiment, with these tags), oldest first, with these columns;
        `deleted`: with those in the trash.
        """

    def gone(self, run_ids: Sequence[str]) -> set[str]:
        """Those of the runs that are deleted or unknown to the store, and do not wait on disk to be
        begun there.
        """

    def run(self, key: str) -> RunRecord:
        """The run with this id, unique id prefix, or unique name; InputError otherwise."""

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """All (step, value) of one metric, by step."""

    def artifact(self, run_id: str, path: str) -> Path:
        """A local copy of an artifact (file or folder); InputError where there is none."""

    def model(self, run_id: str) -> Path:
        """A local copy of the folder that `log_model` was given."""

    def upload(self, run_id: str, folder: Path) -> None:
        """Every file below `folder` as an artifact of a run, at once; nothing else of the run
        changes, and another process may be writing it.
        """

    def register(self, run_id: str, name: str, description: str, tags: Tags) -> str:
        """Register a run's model as the next version of `name`; the version."""

    def link(self, experiment: str, run_id: str | None = None, artifact: str | None = None) -> str:
        """The UI's page of it, relative to the UI's address."""

    def sentences_link(self, experiment: str, sort: str, ascending: bool) -> str:
        """The UI's page with the samples of a study's runs side by side, sorted by a metric."""

    def store_view(self, experiment: str, view: View) -> str:
        """Store a view of the experiment's runs; its link."""

    def describe_experiment(self, experiment: str, text: str) -> None:
        """Describe an experiment in the UI's list, unless somebody has described it."""


def read_tag(run: RunRecord, key: str, read: Callable[[str], T] = str) -> T:  # type: ignore[assignment]
    """A tag that a run of ours has, as `read` reads it; InputError, with the run, where somebody
    removed it or changed it to what cannot be read.
    """
    try:
        return read(run.tags[key])
    except (KeyError, ValueError, TypeError):
        there = key in run.tags
        found = f"is {run.tags[key]!r:.60}, which cannot be read" if there else "is missing"
        raise InputError(
            f"run {run.run_id[:8]} ({run.name}): its tag {key!r} {found}; correct the tag in the "
            f"UI, or delete the run"
        ) from None


def find_run(runs: Sequence[RunRecord], key: str) -> RunRecord:
    """The one run with this id, id prefix or name; InputError for none or several."""
    matches = [run for run in runs if run.run_id == key]
    matches = matches or [run for run in runs if run.name == key]
    if not matches and len(key) >= SHORTEST_ID:
        matches = [run for run in runs if run.run_id.startswith(key)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        ids = ", ".join(run.run_id[:8] for run in matches[-5:])
        raise InputError(f"{key!r} matches {count(len(matches), 'run')}; give an id, such as {ids}")
    if not runs:
        raise InputError(f"no run {key!r}: the store has no runs yet")
    raise InputError(f"no run {key!r}{nearest(key, {run.name for run in runs})}")


def study_run(tracker: Tracker, study: str) -> RunRecord:
    """The parent run of a study, by the name of its experiment, by the name under which it was
    begun, which is that of its queue, or by its id. InputError for an unknown or a deleted study.
    """
    for deleted in (False, True):
        found = tracker.runs(study, tags=OF_STUDY, deleted=deleted) or tracker.runs(
            tags={**OF_STUDY, "study": study}, deleted=deleted
        )
        if found and deleted:
            run = found[0]
            alive = run.experiment in tracker.experiments()
            raise DeletedError(
                f"study {study!r} is deleted; restore it with `textgan runs restore "
                f"{shlex.quote(run.run_id if alive else run.experiment)}`"
            )
        if found:
            return found[0]
    known = tracker.runs(tags=OF_STUDY, columns=NONE)
    if len(study) >= SHORTEST_ID and any(run.run_id.startswith(study) for run in known):
        return tracker.run(find_run(known, study).run_id)
    raise InputError(f"no study {study!r}{nearest(study, {run.experiment for run in known})}")
