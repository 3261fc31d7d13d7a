"""Deleting runs: first only marked, so that it can be undone; then for good, with everything.

MLflow's client can mark a run; taking it out of the store is `mlflow gc`'s business and done
through the store itself, so it works on a database and not through a server.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from core.errors import InputError
from core.tracking.protocol import Leftover

SEARCHED = 50_000


class Deletion:
    """What `MlflowTracker` deletes with."""

    def __init__(self, client: Any, uri: str, store_dir: Path) -> None:
        self._client, self._uri, self._store_dir = client, uri, store_dir

    def size(self, run_id: str) -> int:
        """Bytes of a run's artifacts, models and files beside the store."""
        run = self._client.get_run(run_id)
        places = [run.info.artifact_uri, *(model.artifact_location for model in self._models(run))]
        folders = [place for uri in places if (place := _local(uri)) is not None]
        own = [self._store_dir / "runs" / run_id, self._store_dir / "journal" / f"{run_id}.jsonl"]
        return sum(_bytes(folder) for folder in [*folders, *own])

    def mark(self, run_ids: Sequence[str]) -> None:
        """Delete, so that it can be undone."""
        for run_id in run_ids:
            self._client.delete_run(run_id)

    def restore(self, run_ids: Sequence[str]) -> None:
        """Undo."""
        for run_id in run_ids:
            self._client.restore_run(run_id)

    def leftovers(self) -> list[Leftover]:
        """Runs that were deleted, and files of runs that the store does not know at all."""
        from mlflow.entities import ViewType

        found = self._client.search_experiments(view_type=ViewType.ALL)
        names = {experiment.experiment_id: experiment.name for experiment in found}
        runs = self._client.search_runs(
            list(names), run_view_type=ViewType.DELETED_ONLY, max_results=SEARCHED
        )
        deleted = [
            Leftover(run.info.run_id, f"{names[run.info.experiment_id]}: {run.info.run_name}",
                     self.size(run.info.run_id), known=True)
            for run in runs
        ]  # fmt: skip
        return deleted + self._unknown()

    def _unknown(self) -> list[Leftover]:
        """Files of runs that are in no state in the store, and owe it nothing."""
        from mlflow.exceptions import MlflowException

        folder = self._store_dir / "runs"
        journals = self._store_dir / "journal"
        unknown = []
        for place in sorted(folder.iterdir()) if folder.is_dir() else []:
            journal = journals / f"{place.name}.jsonl"
            if journal.exists():
                continue  # begun while the store was away: `textgan sync` knows what becomes of it
            try:
                self._client.get_run(place.name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                unknown.append(Leftover(place.name, "not in the store", _bytes(place), known=False))
        return unknown

    def purge(self, leftover: Leftover) -> None:
        """Remove for good; InputError through a server."""
        if leftover.known:
            self._purge_from_store(leftover.run_id)
        shutil.rmtree(self._store_dir / "runs" / leftover.run_id, ignore_errors=True)
        waiting = self._store_dir / "journal"
        shutil.rmtree(waiting / leftover.run_id, ignore_errors=True)
        for file in waiting.glob(f"{leftover.run_id}.*"):
            shutil.rmtree(file) if file.is_dir() else file.unlink()

    def _purge_from_store(self, run_id: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        if self._uri.startswith("http"):
            raise InputError(
                f"{self._uri} is a server: runs are removed where it runs, with `mlflow gc`"
            )
        run = self._client.get_run(run_id)
        store = self._client._tracking_client.store
        for model in self._models(run):
            get_artifact_repository(model.artifact_location).delete_artifacts()
            self._client.delete_logged_model(model.model_id)
            store._hard_delete_logged_model(model.model_id)
        get_artifact_repository(run.info.artifact_uri).delete_artifacts()
        place = _local(run.info.artifact_uri)
        if place is not None and place.parent.name == run_id:
            shutil.rmtree(place.parent, ignore_errors=True)
        store._hard_delete_run(run_id)

    def registered(self, run_ids: Sequence[str]) -> dict[str, str]:
        """Run id to `name version N` of those whose model stands in the registry."""
        versions = self._client.search_model_versions()
        return {
            version.run_id: f"{version.name} version {version.version}"
            for version in versions
            if version.run_id in run_ids
        }

    def _models(self, run: Any) -> list[Any]:
        outputs = run.outputs.model_outputs if run.outputs else []
        return [self._client.get_logged_model(output.model_id) for output in outputs]


def _local(uri: str) -> Path | None:
    parsed = urlparse(uri)
    return Path(unquote(parsed.path)) if parsed.scheme in ("", "file") else None


def _bytes(place: Path) -> int:
    if place.is_file():
        return place.stat().st_size
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
