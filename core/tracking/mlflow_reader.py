"""What is read from a store of MLflow: by SQL of our own where that is possible, which is ten times
as fast, else through MLflow's client.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.tracking.find import find_run
from core.tracking.mlflow_client import PAGE, MlflowStore, first_line
from core.tracking.mlflow_delivery import server_id
from core.tracking.mlflow_sql import UnreadableError
from core.tracking.protocol import ALL, NONE, Columns, RunRecord


class MlflowReader:
    """The reading half of `Tracker`."""

    def __init__(self, uri: str) -> None:
        self.store = MlflowStore(uri)
        self.uri, self.store_dir = uri, self.store.store_dir

    def experiments(self) -> list[str]:
        """See `Tracker`."""
        if self.store.sql is not None:
            with contextlib.suppress(UnreadableError):
                return self.store.sql.experiments()
        with self.store.reading():
            found = self.store.client.search_experiments(max_results=PAGE)
        return sorted(experiment.name for experiment in found)

    def runs(
        self,
        experiment: str | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        columns: Columns = ALL,
    ) -> list[RunRecord]:
        """See `Tracker`."""
        if self.store.sql is not None:
            with contextlib.suppress(UnreadableError):
                return self.store.sql.read(experiment, tags or {}, columns)
        return self._search(experiment, tags or {})

    def _search(self, experiment: str | None, tags: Mapping[str, str]) -> list[RunRecord]:
        with self.store.reading():
            known = self.store.client.search_experiments(max_results=PAGE)
        found = {e.experiment_id: e.name for e in known}
        ids = [identity for identity, name in found.items() if experiment in (None, name)]
        if not ids:
            return []
        wanted = " and ".join(f"tags.`{k}` = '{v}'" for k, v in tags.items())
        records: list[RunRecord] = []
        token = None
        while True:
            with self.store.reading():
                page = self.store.client.search_runs(
                    ids, wanted, max_results=PAGE, page_token=token, order_by=["start_time ASC"]
                )
            records += [_record(run, found) for run in page]
            token = page.token
            if not token:
                return records

    def run(self, key: str) -> RunRecord:
        """See `Tracker`."""
        run_id = find_run(self.runs(columns=NONE), server_id(self.store_dir, key)).run_id
        if self.store.sql is not None:
            with contextlib.suppress(UnreadableError):
                return self.store.sql.read(None, {}, run_ids=[run_id])[0]
        with self.store.reading():
            run = self.store.client.get_run(run_id)
        return _record(run, {run.info.experiment_id: self._experiment_name(run)})

    def _experiment_name(self, run: Any) -> str:
        return str(self.store.client.get_experiment(run.info.experiment_id).name)

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """See `Tracker`."""
        with self.store.reading():
            points = self.store.client.get_metric_history(server_id(self.store_dir, run_id), metric)
        return sorted((point.step, point.value) for point in points)

    def artifact(self, run_id: str, path: str) -> Path:
        """See `Tracker`."""
        from mlflow.exceptions import MlflowException

        try:
            return Path(
                self.store.client.download_artifacts(server_id(self.store_dir, run_id), path)
            )
        except (MlflowException, OSError) as error:
            raise InputError(f"run {run_id}: no artifact {path!r} ({first_line(error)})") from None

    def model(self, run_id: str) -> Path:
        """See `Tracker`."""
        import mlflow

        place = self.store.client.get_logged_model(self._model_id(run_id)).artifact_location
        folder = mlflow.artifacts.download_artifacts(artifact_uri=place, tracking_uri=self.uri)
        return next((Path(folder) / "artifacts").iterdir())  # the one folder logged with it

    def _model_id(self, run_id: str) -> str:
        with self.store.reading():
            found = self.store.client.get_run(server_id(self.store_dir, run_id)).outputs
        models = found.model_outputs if found else []
        if not models:
            raise InputError(f"run {run_id} has no model (it may not have ended)")
        return str(models[-1].model_id)


def _record(run: Any, experiments: Mapping[str, str]) -> RunRecord:
    info, data = run.info, run.data
    return RunRecord(
        info.run_id,
        experiments[info.experiment_id],
        info.run_name or "",
        info.status,
        data.tags.get("mlflow.parentRunId"),
        data.tags,
        data.params,
        data.metrics,
        info.start_time,
        info.end_time,
    )
