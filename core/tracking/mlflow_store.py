"""MLflow behind the tracker protocol; only files named mlflow_* import it.

The default store is `sqlite:///mlruns/mlflow.db` below the current folder, artifacts beside it;
MLFLOW_TRACKING_URI overrides.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

from core.addresses import shown, with_driver
from core.errors import InputError, MachineError
from core.tracking.delivery import complete
from core.tracking.journal import Journal, Point
from core.tracking.mlflow_client import DEFAULT_FOLDER, first_line
from core.tracking.mlflow_delete import Deletion
from core.tracking.mlflow_delivery import MlflowDelivery, server_id
from core.tracking.mlflow_reader import MlflowReader
from core.tracking.mlflow_run import MlflowRun
from core.tracking.protocol import IDENTITY, NONE, Undelivered


def open_tracker(uri: str | None = None) -> MlflowTracker:
    """The tracker of `uri`, of MLFLOW_TRACKING_URI, or of ./mlruns.

    InputError for an address of a kind that cannot serve, MachineError for a store that cannot be
    opened or created.
    """
    chosen = with_driver(uri or os.environ.get("MLFLOW_TRACKING_URI") or "")
    if not chosen:
        chosen = f"sqlite:///{Path.cwd() / DEFAULT_FOLDER / 'mlflow.db'}"
    if not re.match(r"(sqlite|postgresql|mysql|https?)(\+\w+)?://", chosen):
        raise InputError(
            f"tracking URI {chosen!r}: MLflow no longer keeps runs in plain folders; use "
            f"sqlite:///PATH/mlflow.db or http://SERVER:PORT"
        )
    return MlflowTracker(chosen)


class MlflowTracker(MlflowReader):
    """A store of runs in MLflow: what is written to it, and its pages."""

    def start_run(
        self,
        experiment: str,
        name: str,
        *,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        parent_id: str | None = None,
        identity: str | None = None,
    ) -> MlflowRun:
        """See `Tracker`. Where the store is away the run begins under an id of ours."""
        from mlflow.exceptions import MlflowException

        if identity is not None:
            with contextlib.suppress(MachineError):
                for found in self.runs(experiment, tags={IDENTITY: identity}, columns=NONE):
                    known = self.continue_run(found.run_id)
                    known.log_params(params)  # whoever began it may have died before it did
                    return known
        identity = identity or uuid.uuid4().hex
        all_tags = {**tags, IDENTITY: identity}
        if parent_id:
            all_tags["mlflow.parentRunId"] = server_id(self.store_dir, parent_id)
        try:
            created = self.store.client.create_run(
                self.store.experiment_id(experiment), run_name=name, tags=all_tags
            )
        except MlflowException as error:
            if self.store.embedded:
                words = f"{shown(self.uri)}: a run cannot be begun ({first_line(error)})"
                raise MachineError(words) from None
            run = self._run(identity)
            run.begin(experiment, name, tags, parent_id)
        else:
            run = self._run(created.info.run_id)
        run.log_params(params)
        return run

    def continue_run(self, run_id: str) -> MlflowRun:
        """See `Tracker`."""
        run = self._run(run_id)
        run.go_on(() if self._journal_path(run_id).exists() else self._given(run_id))
        return run

    def _given(self, run_id: str) -> list[Point]:
        """What a run has been given, by whichever machine."""
        identity = server_id(self.store_dir, run_id)
        with self.store.reading():
            keys = self.store.client.get_run(identity).data.metrics
            curves = [self.store.client.get_metric_history(identity, key) for key in keys]
        return [Point(m.key, m.value, m.timestamp, m.step) for curve in curves for m in curve]

    def _run(self, run_id: str) -> MlflowRun:
        return MlflowRun(self.store_dir, run_id, self._delivery(run_id))

    def _delivery(self, run_id: str) -> MlflowDelivery:
        return MlflowDelivery(self.store.client, self.store_dir, run_id, self.store.experiment_id)

    def sync(self, report: Callable[[int, int], None] = lambda done, total: None) -> Undelivered:
        """See `Tracker`."""
        waiting = self.undelivered()
        busy, away = [], dict[str, str]()
        for number, run_id in enumerate(waiting):
            report(number, len(waiting))
            path = self._journal_path(run_id)
            try:
                journal = Journal(path)
            except MachineError:
                busy.append(run_id)
                continue
            try:
                self._delivery(run_id).delivery(path).drain()
                shutil.rmtree(journal.spool, ignore_errors=True)
            except Exception as error:  # noqa: BLE001 - whatever the store's client raises
                away[run_id] = first_line(error)
            finally:
                journal.close()
        return Undelivered(len(waiting) - len(busy) - len(away), tuple(busy), away)

    def undelivered(self) -> list[str]:
        """See `Tracker`."""
        found = sorted((self.store_dir / "journal").glob("*.jsonl"))
        return [path.stem for path in found if not complete(path)]

    def _journal_path(self, run_id: str) -> Path:
        return self.store_dir / "journal" / f"{run_id}.jsonl"

    def register(self, run_id: str, name: str, description: str, tags: Mapping[str, str]) -> str:
        """See `Tracker`."""
        from mlflow.exceptions import MlflowException

        model_id = self._model_id(run_id)
        try:
            self.store.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise InputError(f"--register {name}: {first_line(error)}") from None
        # The place itself: MLflow looks a models:/ address up in the process's own store.
        place = self.store.client.get_logged_model(model_id).artifact_location
        made = self.store.client.create_model_version(
            name, place, server_id(self.store_dir, run_id), dict(tags),
            description=description, model_id=model_id,
        )  # fmt: skip
        return str(made.version)

    def link(self, experiment: str, run_id: str | None = None, artifact: str | None = None) -> str:
        """See `Tracker`."""
        with self.store.reading():
            page = f"#/experiments/{self.store.experiment_id(experiment)}/runs"
        page += f"/{server_id(self.store_dir, run_id)}" if run_id else ""
        page += f"/artifacts/{artifact}" if artifact else ""
        return f"{page}?workflowType=machine_learning"

    def trash(self) -> Deletion:
        """What deletes runs."""
        return Deletion(self.store.client, self.uri, self.store_dir)

    def sentences_link(self, experiment: str, sort: str, ascending: bool) -> str:
        """See `Tracker`."""
        asked = {
            "compareRunsMode": "ARTIFACT",
            "searchFilter": 'tags.level = "seed"',
            "orderByKey": f"metrics.`{sort}`",
            "orderByAsc": str(ascending).lower(),
        }
        return f"{self.link(experiment)}&{urlencode(asked, quote_via=quote)}"

    def store_view(
        self,
        experiment: str,
        metrics: Sequence[str],
        sort: str,
        ascending: bool,
        params: Sequence[str] = (),
    ) -> str:
        """See `Tracker`."""
        from core.tracking.mlflow_view import store_view

        identity = self.store.experiment_id(experiment)
        columns = [*(f"params.`{p}`" for p in params), *(f"metrics.`{m}`" for m in metrics)]
        key = store_view(self.store.client, identity, columns, f"metrics.`{sort}`", ascending)
        return f"{self.link(experiment)}&viewStateShareKey={key}"
