"""The interface of a tracker, and the records that it gives.

Study = experiment and a parent run; variant = its child; seed = the variant's child. Values go in
by step and are read back by run; nothing here blocks a training step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from core.config.renamed import current_params, stored_keys
from core.errors import InputError, nearest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IDENTITY = "textgan.identity"  # the tag with a run's local id, which it has before the store's
SHORTEST_ID = 4  # characters of an id that find a run, if only one begins so
Outcome = Literal["ok", "diverged", "collapsed", "killed", "failed"]
STATUS: Mapping[Outcome, str] = {  # MLflow's, of each outcome
    "ok": "FINISHED", "diverged": "FINISHED", "collapsed": "FINISHED",
    "killed": "KILLED", "failed": "FAILED",
}  # fmt: skip
WORST = ("diverged", "collapsed")  # outcomes that are scored as the worst score
ENDED = ("ok", *WORST)  # outcomes with a result; a killed or failed run has none


@dataclass(frozen=True)
class RunLabels:
    """Where a run is filed in the store: its experiment, its name, its parent run, its tags."""

    experiment: str = "runs"
    name: str | None = None  # None: system and seed
    parent_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One sentence: row `row` of the fixed latents, after `step` updates."""

    step: int
    row: int
    text: str

    @property
    def key(self) -> str:
        """Unique within a run, and the same in every run: it groups rows across runs."""
        return f"step {self.step:06d} · #{self.row:02d}"


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
        return (*keys, "mlflow.parentRunId") if kind == "tags" else keys


ALL = Columns()
NONE = Columns((), (), ())


@dataclass(frozen=True)
class RunRecord:
    """A run as read back from the store; parameters have today's keys, whatever was stored."""

    run_id: str
    experiment: str
    name: str
    status: str  # RUNNING, FINISHED, FAILED, KILLED
    parent_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)  # last values
    start: int = 0  # milliseconds since 1970
    end: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", current_params(self.params))

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


class RunTracker(Protocol):
    """One run, being written. Only `flush` and `finish` wait for the store."""

    run_id: str

    def log_metrics(self, values: Mapping[str, float | None], step: int) -> None:
        """Values of one step; None is left out. A metric that has a value at this step keeps it,
        so a resumed run may log again what it logged before it died.
        """

    def log_params(self, params: Mapping[str, object]) -> None:
        """Parameters; they cannot be changed later."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Tags; a later value replaces an earlier one."""

    def describe(self, markdown: str) -> None:
        """The run's description."""

    def log_samples(self, samples: Sequence[Sample]) -> None:
        """All samples so far, as a table for the UI, as a page and as text."""

    def log_text(self, text: str, path: str) -> None:
        """A text artifact."""

    def log_files(self, folder: Path) -> None:
        """Every file below `folder`, under its relative path."""

    def log_figure(self, figure: Figure, path: str) -> None:
        """A figure as PNG and as SVG."""

    def log_dataset(self, name: str, fingerprint: str, source: str) -> None:
        """The training data."""

    def log_model(self, folder: Path) -> None:
        """The folder's files as a model named `generator` that samples text."""

    def history(self, metric: str) -> list[tuple[int, float]]:
        """All (step, value) of one metric of this run, delivered or not."""

    def persist(self) -> None:
        """Return when everything written so far is on disk."""

    def flush(self) -> bool:
        """Wait a bounded time for delivery; False if it is incomplete. The rest stays on disk for
        the run's next process, or for `Tracker.sync`.
        """

    def finish(self, outcome: Outcome, reason: str = "") -> None:
        """End the run; wait a bounded time for delivery."""


class Tracker(Protocol):
    """A store of runs."""

    uri: str
    store_dir: Path  # the folder next to the store: checkpoints, corpora, journals, queues

    def start_run(
        self,
        experiment: str,
        name: str,
        *,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        parent_id: str | None = None,
        identity: str | None = None,
    ) -> RunTracker:
        """A new run. With an `identity` (32 hexadecimal digits), the experiment's run of that
        identity if there is one.
        """

    def continue_run(self, run_id: str) -> RunTracker:
        """Open an existing run for writing."""

    def sync(self, report: Callable[[int, int], None] = ...) -> SyncResult:
        """Deliver what waits on disk, run by run; `report` is called with (done, total)."""

    def undelivered(self) -> list[str]:
        """Ids of the runs with undelivered entries on disk."""

    def experiments(self) -> list[str]:
        """Names of all experiments."""

    def runs(
        self,
        experiment: str | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        columns: Columns = ALL,
    ) -> list[RunRecord]:
        """All runs (of one experiment, with these tags), oldest first, with these columns."""

    def run(self, key: str) -> RunRecord:
        """The run with this id, unique id prefix, or unique name; InputError otherwise."""

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """All (step, value) of one metric, by step."""

    def artifact(self, run_id: str, path: str) -> Path:
        """A local copy of an artifact (file or folder); InputError where there is none."""

    def model(self, run_id: str) -> Path:
        """A local copy of the folder that `log_model` was given."""

    def register(self, run_id: str, name: str, description: str, tags: Mapping[str, str]) -> str:
        """Register a run's model as the next version of `name`; the version."""

    def link(self, experiment: str, run_id: str | None = None, artifact: str | None = None) -> str:
        """The UI's page of it, relative to the UI's address."""

    def sentences_link(self, experiment: str, sort: str, ascending: bool) -> str:
        """The UI's page with the samples of a study's runs side by side, sorted by a metric."""

    def store_view(self, experiment: str, columns: Columns, sort: str, ascending: bool) -> str:
        """Save a view of the experiment's run table with these columns; its link."""


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
        raise InputError(f"{key!r} matches {len(matches)} runs; give an id, such as {ids}")
    if not runs:
        raise InputError(f"no run {key!r}: the store has no runs yet")
    raise InputError(f"no run {key!r}{nearest(key, {run.name for run in runs})}")


def study_run(tracker: Tracker, study: str) -> RunRecord:
    """The parent run of a study; InputError for an unknown study."""
    if runs := tracker.runs(study, tags={"level": "study"}):
        return runs[0]
    known = sorted(run.name for run in tracker.runs(tags={"level": "study"}, columns=NONE))
    raise InputError(f"no study {study!r}; known: {', '.join(known) or 'none yet'}")
