"""What the harness asks of a record keeper.

Study = experiment and a parent run; variant = its child; seed = the variant's child. Values go in
by step and are read back by run; nothing here blocks a training step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IDENTITY = "textgan.identity"  # the tag of what a run was known by before it had an id
Outcome = Literal["ok", "diverged", "collapsed", "killed", "failed"]
WORST = ("diverged", "collapsed")  # results that count as the worst score
ENDED = ("ok", *WORST)  # results; what was killed or broke is none


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
    """What to read of many runs: keys, each whole or a beginning and `*`; None is all of them.

    A store may give more than was asked for, never less. The parent's id is always read.
    """

    tags: tuple[str, ...] | None = None
    params: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None

    def of(self, kind: str) -> tuple[str, ...] | None:
        """The keys of `tags`, `params` or `metrics`."""
        keys: tuple[str, ...] | None = getattr(self, kind)
        return (*keys, "mlflow.parentRunId") if kind == "tags" and keys is not None else keys


ALL = Columns()
NONE = Columns((), (), ())


@dataclass(frozen=True)
class RunRecord:
    """A run as read back from the store."""

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

    @property
    def outcome(self) -> str | None:
        """The tag `outcome`, None while the run goes on."""
        return self.tags.get("outcome")


@dataclass(frozen=True)
class Undelivered:
    """What a sync came to: runs delivered whole, in use by another process, or not accepted."""

    delivered: int
    busy: tuple[str, ...] = ()
    away: Mapping[str, str] = field(default_factory=dict)  # run -> the store's first line


@dataclass(frozen=True)
class Leftover:
    """What may be removed for good: a run that was deleted, or files that no run owns."""

    run_id: str
    name: str
    size: int  # bytes
    known: bool  # to the store


class Trash(Protocol):
    """Deleting runs, in two steps: marked, which can be undone, and removed for good."""

    def size(self, run_id: str) -> int:
        """Bytes of all that a run keeps."""
        ...

    def registered(self, run_ids: Sequence[str]) -> dict[str, str]:
        """Run id to name and version of those whose model is in the registry."""
        ...

    def mark(self, run_ids: Sequence[str]) -> None:
        """Delete, so that it can be undone."""
        ...

    def restore(self, run_ids: Sequence[str]) -> None:
        """Undo."""
        ...

    def leftovers(self) -> list[Leftover]:
        """All that could be removed for good."""
        ...

    def purge(self, leftover: Leftover) -> None:
        """Remove for good."""
        ...


class RunTracker(Protocol):
    """One run, being written. Nothing here waits for the store but `flush` and `finish`."""

    run_id: str

    def log_metrics(self, values: Mapping[str, float | None], step: int) -> None:
        """Values of one step; None is left out. Returns at once. What the run has at this step
        already stays, so a resumed run may log again what it logged before it died.
        """
        ...

    def log_params(self, params: Mapping[str, object]) -> None:
        """Parameters; they cannot change."""
        ...

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Tags; they can."""
        ...

    def describe(self, markdown: str) -> None:
        """The run's description."""
        ...

    def log_samples(self, samples: Sequence[Sample]) -> None:
        """All sentences so far: a table to compare, a page and a text to read."""
        ...

    def log_text(self, text: str, path: str) -> None:
        """A text artifact."""
        ...

    def log_files(self, folder: Path) -> None:
        """Every file below `folder`, at its place there."""
        ...

    def log_figure(self, figure: Figure, path: str) -> None:
        """A figure as PNG, with a vector copy (SVG) beside."""
        ...

    def log_dataset(self, name: str, fingerprint: str, source: str) -> None:
        """What the run was trained on."""
        ...

    def log_model(self, folder: Path) -> None:
        """The folder's files as a model named `generator` that draws sentences."""
        ...

    def history(self, metric: str) -> list[tuple[int, float]]:
        """All (step, value) of one metric that this run was given, delivered or not."""
        ...

    def persist(self) -> None:
        """Return when what was written so far survives the machine's end."""
        ...

    def flush(self) -> bool:
        """Wait a bounded time for what is still on its way; False when it did not arrive. What did
        not waits on disk for the run's next process, or for `Tracker.sync`.
        """
        ...

    def finish(self, outcome: Outcome, reason: str = "") -> None:
        """End the run; waits a bounded time for what is still on its way."""
        ...


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
        """A new run; with an identity (32 hexadecimal digits) the run that was begun with it, where
        there is one in the experiment.
        """
        ...

    def continue_run(self, run_id: str) -> RunTracker:
        """A run that was begun, open again."""
        ...

    def sync(self, report: Callable[[int, int], None] = ...) -> Undelivered:
        """Deliver what waits on disk, run by run; `report` hears runs done and in all."""
        ...

    def undelivered(self) -> list[str]:
        """Ids of the runs of which something waits on disk."""
        ...

    def experiments(self) -> list[str]:
        """Names of all experiments."""
        ...

    def runs(
        self,
        experiment: str | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        columns: Columns = ALL,
    ) -> list[RunRecord]:
        """All runs (of one experiment, with these tags), oldest first, with these columns."""
        ...

    def run(self, key: str) -> RunRecord:
        """The run of this id, unique beginning of an id, or unique name; InputError otherwise."""
        ...

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """All (step, value) of one metric, by step."""
        ...

    def artifact(self, run_id: str, path: str) -> Path:
        """A local copy of an artifact (file or folder); InputError where there is none."""
        ...

    def model(self, run_id: str) -> Path:
        """A local copy of the folder that `log_model` was given."""
        ...

    def register(self, run_id: str, name: str, description: str, tags: Mapping[str, str]) -> str:
        """Put a run's model into the registry as the next version of `name`; the version."""
        ...

    def link(self, experiment: str, run_id: str | None = None, artifact: str | None = None) -> str:
        """Where the UI shows it, relative to the UI's address."""
        ...

    def sentences_link(self, experiment: str, sort: str, ascending: bool) -> str:
        """Where the UI shows the sentences of a study's runs side by side, sorted by a metric."""
        ...

    def store_view(
        self,
        experiment: str,
        metrics: Sequence[str],
        sort: str,
        ascending: bool,
        params: Sequence[str] = (),
    ) -> str:
        """Store a view of the experiment's run table with these columns; its link."""
        ...
