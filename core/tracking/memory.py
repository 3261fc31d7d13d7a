"""A tracker in memory, with the semantics of the MLflow one: for tests and summaries."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from core.errors import InputError
from core.tracking.protocol import ALL, Columns, RunRecord, RunTracker, Tags, find_run, own_tags


@dataclass
class MemoryRun(RunTracker):
    """One run in memory; artifacts are files in `folder`."""

    run_id: str
    experiment: str
    name: str
    folder: Path
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    points: dict[str, dict[int, float]] = field(default_factory=dict)
    status: str = "RUNNING"

    def log_metrics(self, values: Mapping[str, float | None], step: int) -> None:
        """See `RunTracker`."""
        for key, value in values.items():
            if value is not None:
                self.points.setdefault(key, {}).setdefault(step, float(value))

    def log_params(self, params: Mapping[str, object]) -> None:
        """See `RunTracker`."""
        self.params.update({key: str(value) for key, value in params.items()})

    def set_tags(self, tags: Tags) -> None:
        """See `RunTracker`."""
        self.tags.update(tags)

    def log_file(self, path: str, make: Callable[[Path], object]) -> None:
        """See `RunTracker`."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        make(self.folder / path)

    def log_dataset(self, name: str, fingerprint: str, source: str, split: str) -> None:
        """See `RunTracker`."""
        self.tags["dataset"] = fingerprint

    def log_model(self, folder: Path, step: int = 0, *, kept: bool = False) -> None:
        """See `RunTracker`."""
        name = f"kept/{step}" if kept else "generator"
        shutil.copytree(folder, self.folder / name, dirs_exist_ok=True)

    def history(self, metric: str) -> list[tuple[int, float]]:
        """See `RunTracker`."""
        return sorted(self.points.get(metric, {}).items())

    def persist(self) -> None:
        """See `RunTracker`."""

    def flush(self) -> bool:
        """See `RunTracker`."""
        return True

    def end(self, status: str) -> None:
        """See `RunTracker`."""
        self.status = status

    def record(self) -> RunRecord:
        """The run as read back."""
        last = {key: points[max(points)] for key, points in self.points.items()}
        return RunRecord(
            self.run_id, self.experiment, self.name, self.status,
            dict(self.tags), dict(self.params), last,
        )  # fmt: skip


class MemoryTracker:
    """A store in memory."""

    def __init__(self, store_dir: Path) -> None:
        self.uri, self.store_dir, self.read_only = "memory", store_dir, False
        self._runs: dict[str, MemoryRun] = {}
        self.registry: dict[str, list[Path]] = {}
        self.trash: set[str] = set()  # ids of deleted runs

    def start_run(
        self,
        experiment: str,
        name: str,
        *,
        params: Mapping[str, object],
        tags: Tags,
        parent_id: str | None = None,
        identity: str | None = None,
    ) -> MemoryRun:
        """See `Tracker`."""
        run_id = identity or uuid.uuid4().hex
        if run_id in self.trash:
            run_id = uuid.uuid4().hex
        if run_id not in self._runs:
            run = MemoryRun(run_id, experiment, name, self.store_dir / "artifacts" / run_id)
            run.set_tags(own_tags(tags, identity or run_id, parent_id))
            self._runs[run_id] = run
        known = self.continue_run(run_id)
        known.log_params(params)
        return known

    def continue_run(self, run_id: str) -> MemoryRun:
        """See `Tracker`."""
        self._runs[run_id].status = "RUNNING"
        return self._runs[run_id]

    def experiments(self, *, deleted: bool = False) -> list[str]:
        """See `Tracker`."""
        return sorted({run.experiment for run in self._runs.values()})

    def runs(
        self,
        experiment: str | None = None,
        *,
        tags: Tags | None = None,
        columns: Columns = ALL,
        deleted: bool = False,
    ) -> list[RunRecord]:
        """See `Tracker`."""
        wanted = dict(tags or {}).items()
        return [
            replace(run.record(), deleted=run.run_id in self.trash)
            for run in self._runs.values()
            if experiment in (None, run.experiment)
            and wanted <= run.tags.items()
            and (deleted or run.run_id not in self.trash)
        ]

    def gone(self, run_ids: Sequence[str]) -> set[str]:
        """See `Tracker`."""
        return set(run_ids) - {run.run_id for run in self.runs()}

    def run(self, key: str) -> RunRecord:
        """See `Tracker`."""
        return find_run(self.runs(), key)

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """See `Tracker`."""
        return self._runs[run_id].history(metric)

    def artifact(self, run_id: str, path: str) -> Path:
        """See `Tracker`."""
        file = self._runs[run_id].folder / path
        if not file.exists():
            raise InputError(f"run {run_id}: no artifact {path!r}")
        return file

    def model(self, run_id: str) -> Path:
        """See `Tracker`."""
        return self.artifact(run_id, "generator")

    def upload(self, run_id: str, folder: Path) -> None:
        """See `Tracker`."""
        self._runs[run_id].log_files(folder)

    def register(self, run_id: str, name: str, description: str, tags: Tags) -> str:
        """See `Tracker`."""
        versions = self.registry.setdefault(name, [])
        versions.append(self.model(run_id))
        return str(len(versions))

    def link(self, experiment: str, run_id: str | None = None, artifact: str | None = None) -> str:
        """See `Tracker`."""
        return f"memory:{experiment}/{run_id or ''}/{artifact or ''}"

    def sentences_link(self, experiment: str, sort: str, ascending: bool) -> str:
        """See `Tracker`."""
        return self.link(experiment)

    def describe_experiment(self, experiment: str, text: str) -> None:
        """See `Tracker`."""

    def store_view(self, experiment: str, view: object) -> str:
        """See `Tracker`."""
        return self.link(experiment)
