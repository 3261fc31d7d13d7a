"""The tracker that writes to MLflow.

The default store is `sqlite:///mlruns/mlflow.db` below the current folder, with its artifacts in
`mlruns/artifacts`; MLFLOW_TRACKING_URI overrides it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import uuid
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote, urlencode

from core.addresses import SQLITE, absolute, has_host, shown, sqlite_file, with_driver
from core.errors import DeletedError, InputError, MachineError
from core.server_errors import in_words
from core.tracking.delivery import Delivery, complete
from core.tracking.journal import BusyError, Journal, Point, journal_path, now
from core.tracking.mlflow_client import DEFAULT_FOLDER, is_file_store
from core.tracking.mlflow_deletion import Deletion
from core.tracking.mlflow_delivery import (
    ABSENT,
    MlflowReceiver,
    begins_here,
    deleted,
    deletion,
    is_refusal,
    server_id,
    twins,
)
from core.tracking.mlflow_reader import MlflowReader
from core.tracking.mlflow_run import MlflowRun
from core.tracking.protocol import NOTE, SyncResult, Tags, View, own_tags

RUN_NAME = "attributes.`Run Name`"  # a column of the UI
MOST_BARS = 100


class MissingStoreError(InputError):
    """There is no store at an address."""


def open_tracker(uri: str | None = None) -> MlflowTracker:
    """The tracker of `uri`, of MLFLOW_TRACKING_URI, or of ./mlruns; a missing store is created.

    InputError for an address of an unsupported kind, MachineError for a store that cannot be
    opened or created.
    """
    return MlflowTracker(_address(uri))


def existing_tracker(uri: str | None = None, wanted: str = "") -> MlflowTracker:
    """As `open_tracker`, but MissingStoreError without a store: it has not what is `wanted`."""
    address = _address(uri)
    file = sqlite_file(address)
    if file is not None and not file.exists() and not is_file_store(file.parent):
        raise MissingStoreError(
            f"{wanted and f'no {wanted}: '}there is no store in {file.parent}; `textgan run` and "
            f"`textgan study` create one, and MLFLOW_TRACKING_URI names another"
        )
    return MlflowTracker(address)


def _address(uri: str | None) -> str:
    """The address of the store, that of a file with an absolute path."""
    chosen = with_driver(uri or os.environ.get("MLFLOW_TRACKING_URI") or "")
    chosen = re.sub(r"^sqlite\+\w+:", "sqlite:", chosen)
    if not chosen:
        chosen = f"{SQLITE}{Path.cwd() / DEFAULT_FOLDER / 'mlflow.db'}"
    if not re.match(r"(sqlite|postgresql|mysql|https?)(\+\w+)?://", chosen):
        raise InputError(
            f"tracking URI {shown(chosen)!r}: must be sqlite:///PATH/mlflow.db, postgresql://... "
            f"or http://HOST:PORT; MLflow no longer keeps runs in plain folders"
        )
    if chosen.startswith("http") and not has_host(chosen):
        raise InputError(f"tracking URI {chosen!r}: not an address; write http://HOST:PORT")
    return absolute(chosen)


class MlflowTracker(MlflowReader):
    """A store of runs in MLflow: the writing half of `Tracker`, and links into the UI."""

    def start_run(
        self,
        experiment: str,
        name: str,
        *,
        params: Mapping[str, object],
        tags: Tags,
        parent_id: str | None = None,
        identity: str | None = None,
    ) -> MlflowRun:
        """See `Tracker`. While a server does not answer, the run starts under a local id.

        DeletedError if the experiment is deleted.
        """
        from mlflow.exceptions import MlflowException

        self.store.check_writable()
        client, new = self.store.client, identity is None
        identity = identity or uuid.uuid4().hex
        parent = server_id(self.store_dir, parent_id) if parent_id else None
        all_tags = own_tags(tags, identity, parent)
        try:
            place = self.store.experiment_of(experiment, parent)
            with contextlib.suppress(MachineError):
                for found in [] if new else twins(client, place, identity):
                    known = self.continue_run(found)
                    known.log_params(params)  # its first process may have died before this
                    return known
            run = self._run(client.create_run(place, run_name=name, tags=all_tags).info.run_id)
        except MlflowException as error:
            if gone := deleted(client, error):
                raise gone from None
            if self.store.embedded or is_refusal(error, remote=True):
                message = f"{shown(self.uri)}: cannot start a run: {in_words(error)}"
                raise MachineError(message) from None
            run = self._run(identity)
            run.begin(experiment, name, tags, parent_id)
        run.log_params(params)
        return run

    def continue_run(self, run_id: str) -> MlflowRun:
        """See `Tracker`."""
        self.store.check_writable()
        self._check_not_deleted(run_id)
        run = self._run(run_id)
        known = journal_path(self.store_dir, run_id).exists()
        run.reopen(() if known else self._points(run_id))
        return run

    def _check_not_deleted(self, run_id: str) -> None:
        """DeletedError for a run that the store has deleted or removed; none while it is away."""
        from mlflow.exceptions import MlflowException

        try:
            info = self.store.client.get_run(server_id(self.store_dir, run_id)).info
        except MlflowException as error:
            absent = error.error_code == ABSENT
            if absent and not begins_here(self.store_dir, run_id):
                raise DeletedError(f"run {run_id} was removed from the store for good") from None
            return
        if info.lifecycle_stage == "deleted":
            raise deletion("run", info.run_id)

    def _points(self, run_id: str) -> list[Point]:
        """All points of a run in the store."""
        identity = server_id(self.store_dir, run_id)
        with self.store.reading():
            keys = self.store.client.get_run(identity).data.metrics
            curves = [self.store.client.get_metric_history(identity, key) for key in keys]
        return [Point(m.key, m.value, m.timestamp, m.step) for curve in curves for m in curve]

    def _run(self, run_id: str) -> MlflowRun:
        return MlflowRun(self.store_dir, run_id, self._receiver(run_id))

    def _receiver(self, run_id: str) -> MlflowReceiver:
        if self.store.embedded:
            self._check_location(run_id)
        return MlflowReceiver(self.store.client, self.store_dir, run_id, self.store.experiment_of)

    def _check_location(self, run_id: str) -> None:
        from mlflow.exceptions import MlflowException

        with self.store.reading():
            try:
                place = self.store.client.get_run(run_id).info.artifact_uri
            except MlflowException as error:
                if error.error_code != ABSENT:
                    raise
                return  # it was removed for good
        self.store.check_location(f"run {run_id[:8]}", place)

    def sync(self, report: Callable[[int, int], None] = lambda done, total: None) -> SyncResult:
        """Deliver what waits on disk, run by run; `report` is called with (done, total)."""
        self.store.check_writable()
        waiting = self.undelivered()
        busy, away = [], dict[str, str]()
        for number, run_id in enumerate(waiting):
            report(number, len(waiting))
            path = journal_path(self.store_dir, run_id)
            try:
                journal = Journal(path)
            except BusyError:
                busy.append(run_id)
                continue
            except MachineError as error:
                away[run_id] = str(error)
                continue
            try:
                Delivery(path, self._receiver(run_id)).drain()
                shutil.rmtree(journal.spool, ignore_errors=True)
            except Exception as error:  # noqa: BLE001 - whatever the store's client raises
                away[run_id] = in_words(error)
            finally:
                journal.close()
        return SyncResult(len(waiting) - len(busy) - len(away), tuple(busy), away)

    def undelivered(self) -> list[str]:
        """Ids of the runs with undelivered entries on disk."""
        found = sorted((self.store_dir / "journal").glob("*.jsonl"))
        return [path.stem for path in found if not complete(path)]

    def register(self, run_id: str, name: str, description: str, tags: Tags) -> str:
        """See `Tracker`."""
        from mlflow.exceptions import MlflowException

        self.store.check_writable()
        model_id = str(self._model(run_id).model_id)
        try:
            self.store.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise InputError(f"--register {name}: {in_words(error)}") from None
        # By its location: MLflow resolves a models:/ address in the process's default store.
        place = self.store.client.get_logged_model(model_id).artifact_location
        made = self.store.client.create_model_version(
            name, place, server_id(self.store_dir, run_id), dict(tags),
            description=description, model_id=model_id,
        )  # fmt: skip
        return str(made.version)

    def upload(self, run_id: str, folder: Path) -> None:
        """See `Tracker`."""
        self.store.check_writable()
        with self.store.reading():
            self._receiver(run_id).upload(folder)

    def link(self, experiment: str, run_id: str | None = None, artifact: str | None = None) -> str:
        """See `Tracker`."""
        with self.store.reading():
            page = f"#/experiments/{self.store.experiment_id(experiment)}/runs"
        page += f"/{server_id(self.store_dir, run_id)}" if run_id else ""
        page += f"/artifacts/{artifact}" if artifact else ""
        return f"{page}?workflowType=machine_learning"

    def trash(self) -> Deletion:
        """Deletes runs; MachineError for a store that can only be read."""
        self.store.check_writable()
        return Deletion(self.store)

    def sentences_link(self, experiment: str, sort: str, ascending: bool) -> str:
        """See `Tracker`."""
        query = {
            "compareRunsMode": "ARTIFACT",
            "searchFilter": 'tags.level = "seed"',
            "orderByKey": f"metrics.`{sort}`",
            "orderByAsc": str(ascending).lower(),
        }
        return f"{self.link(experiment)}&{urlencode(query, quote_via=quote)}"

    def describe_experiment(self, experiment: str, text: str) -> None:
        """See `Tracker`."""
        with self.store.reading():
            client, place = self.store.client, self.store.experiment_id(experiment)
            if NOTE not in client.get_experiment(place).tags:
                client.set_experiment_tag(place, NOTE, text)

    def store_view(self, experiment: str, view: View) -> str:
        """See `Tracker`.

        MLflow keeps a shared view as an experiment tag `mlflow.sharedViewState.<id>`: JSON whose
        `state` is "deflate;" and the base64 of the zlib-compressed JSON of the page's state. The
        format is undocumented; a page that does not understand it opens without the view.
        """
        charts = [
            {"uuid": f"{section}: {key}", "type": "LINE" if view.curves else "BAR",
             "metricKey": key, "metricSectionId": section, "runsCountToCompare": MOST_BARS}
            for section, keys in view.charts.items() for key in keys
        ]  # fmt: skip
        sections = [{"uuid": each, "name": each, "display": True} for each in view.charts]
        variant = {"mode": "tag", "groupByData": "variant"}
        state = {
            "orderByKey": f"metrics.`{view.sort}`",
            "orderByAsc": view.ascending,
            "selectedColumns": view.columns,
            "columnOrder": [RUN_NAME, *view.columns, "duration"],
            "columnWidths": {RUN_NAME: 360} | dict.fromkeys(view.columns, 125),  # pixels
            "searchFilter": view.runs,
            "viewMaximized": True,
            "runsHiddenMode": "SHOW_ALL",
            "compareRunCharts": charts,
            "compareRunSections": sections,
            "isAccordionReordered": True,  # else sections are sorted by name
            "groupBy": {"aggregateFunction": "average", "groupByKeys": [variant]}
            if view.curves else None,
        }  # fmt: skip
        packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
        key = hashlib.sha256(packed.encode()).hexdigest()[:16]
        moment = now()
        stored = {"name": view.name, "createdAt": moment, "updatedAt": moment,
                  "state": f"deflate;{packed}"}  # fmt: skip
        self.store.client.set_experiment_tag(
            self.store.experiment_id(experiment),
            f"mlflow.sharedViewState.{key}",
            json.dumps(stored),
        )
        mode = "&compareRunsMode=CHART" if view.curves else ""
        return f"{self.link(experiment)}&viewStateShareKey={key}{mode}"
