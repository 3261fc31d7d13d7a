"""Deletes, restores and removes runs of an MLflow store, with their artifacts and journals."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.addresses import shown
from core.errors import InputError
from core.files import size_of
from core.tracking.journal import journal_path
from core.tracking.locations import is_below, local_path
from core.tracking.mlflow_client import MlflowStore, logged_models, pages
from core.tracking.mlflow_delivery import ABSENT, deletion
from core.tracking.protocol import Leftover

log = logging.getLogger(__name__)


class Deletion:
    """Deletes runs: `mark` can be undone, `purge` cannot.

    MLflow's client only marks runs. Removing them is the job of `mlflow gc` and goes through the
    store's own methods, so it works on a database and not through a server.
    """

    def __init__(self, store: MlflowStore) -> None:
        self._store, self._client, self._store_dir = store, store.client, store.store_dir

    def size(self, run_id: str) -> int:
        """Bytes of a run's artifacts, models and files in the store directory."""
        run = self._client.get_run(run_id)
        places = [run.info.artifact_uri, *(model.artifact_location for model in self._models(run))]
        folders = [place for uri in places if (place := self._own(uri)) is not None]
        own = [self._store_dir / "runs" / run_id, journal_path(self._store_dir, run_id)]
        return sum(map(size_of, [*folders, *own]))

    def mark(self, run_ids: Sequence[str]) -> None:
        """Delete; `restore` undoes it."""
        for run_id in run_ids:
            self._client.delete_run(run_id)

    def restore(self, run_ids: Sequence[str]) -> None:
        """Undo `mark`."""
        for run_id in run_ids:
            home = self._client.get_run(run_id).info.experiment_id
            if (name := self._client.get_experiment(home).name) in self.experiments():
                raise deletion("experiment", name)  # the run would stay invisible
            self._client.restore_run(run_id)

    def experiments(self) -> dict[str, str]:
        """The id of each deleted experiment, by name."""
        from mlflow.entities import ViewType

        found = pages(self._client.search_experiments, view_type=ViewType.DELETED_ONLY)
        return {experiment.name: experiment.experiment_id for experiment in found}

    def restore_experiment(self, name: str) -> None:
        """Restore a deleted experiment with all its runs."""
        self._client.restore_experiment(self.experiments()[name])

    def leftovers(self) -> list[Leftover]:
        """Deleted runs, and files of runs that the store does not know."""
        from mlflow.entities import ViewType

        found = pages(self._client.search_experiments, view_type=ViewType.ALL)
        names = {experiment.experiment_id: experiment.name for experiment in found}
        runs = pages(self._client.search_runs, list(names), "", ViewType.DELETED_ONLY)
        deleted = [
            Leftover(run.info.run_id, f"{names[run.info.experiment_id]}: {run.info.run_name}",
                     self.size(run.info.run_id), known=True)
            for run in runs
        ]  # fmt: skip
        return deleted + self._unknown()

    def _unknown(self) -> list[Leftover]:
        """Folders of runs that the store has in no state, and that have nothing to deliver."""
        runs = self._store_dir / "runs"
        unknown = []
        for folder in sorted(runs.iterdir()) if runs.is_dir() else []:
            if journal_path(self._store_dir, folder.name).exists():
                continue  # begun while the store did not answer; `textgan sync` delivers it
            if self._stage(folder.name) is None:
                found = Leftover(folder.name, "not in the store", size_of(folder), known=False)
                unknown.append(found)
        return unknown

    def purge(self, leftover: Leftover) -> None:
        """Remove permanently, unless it is in use again by now; InputError through a server."""
        run_id = leftover.run_id
        stage = self._stage(run_id)
        begun = stage is None and journal_path(self._store_dir, run_id).exists()
        if stage == "active" or (begun and not leftover.known):
            return
        if stage is not None:
            self._purge_from_store(run_id)
        self._remove(self._store_dir / "runs" / run_id)
        journals = self._store_dir / "journal"
        for place in (journals / run_id, *journals.glob(f"{run_id}.*")):
            self._remove(place)

    def _stage(self, run_id: str) -> str | None:
        """`active` or `deleted`; None for a run that the store does not have."""
        from mlflow.exceptions import MlflowException

        try:
            return str(self._client.get_run(run_id).info.lifecycle_stage)
        except MlflowException as error:
            if error.error_code != ABSENT:
                raise
            return None

    def _purge_from_store(self, run_id: str) -> None:
        if self._store.uri.startswith("http"):
            raise InputError(
                f"{shown(self._store.uri)} is a server: run `mlflow gc` on its machine to remove "
                f"runs"
            )
        run = self._client.get_run(run_id)
        store = self._client._tracking_client.store
        for model in self._models(run):
            self._remove_artifacts(model.artifact_location)
            self._client.delete_logged_model(model.model_id)
            store._hard_delete_logged_model(model.model_id)
        self._remove_artifacts(run.info.artifact_uri)
        place = self._own(run.info.artifact_uri)
        if place is not None and place.parent.name == run_id:
            self._remove(place.parent)
        store._hard_delete_run(run_id)

    def _remove_artifacts(self, location: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        if place := self._own(location):
            self._remove(place)
        elif not self._store.embedded:
            get_artifact_repository(location).delete_artifacts()
        else:
            log.warning("%s is outside the store; it was not removed", location)

    def _own(self, location: str) -> Path | None:
        """The path of a location in the store's folder; None for any other."""
        place = local_path(location)
        return place if is_below(place, self._store_dir, follow=True) else None

    def _remove(self, place: Path) -> None:
        """Remove a file, a folder or a link, if it is in the store's folder."""
        if not is_below(place, self._store_dir, follow=True):
            return
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)

    def registered(self, run_ids: Sequence[str]) -> dict[str, str]:
        """`NAME version N` of each run whose model is in the registry, by run id."""
        return {
            version.run_id: f"{version.name} version {version.version}"
            for version in pages(self._client.search_model_versions)
            if version.run_id in run_ids
        }

    def _models(self, run: Any) -> list[Any]:
        return logged_models(self._client, run)
