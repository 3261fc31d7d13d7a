"""The tracker that writes to MLflow; only files named mlflow_* import MLflow.

The default store is `sqlite:///mlruns/mlflow.db` below the current folder, with its artifacts in
`mlruns/artifacts`; MLFLOW_TRACKING_URI overrides it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import time
import uuid
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from core.addresses import SQLITE, absolute, has_host, shown, sqlite_file, with_driver
from core.away import in_words
from core.errors import InputError, MachineError
from core.tracking.delivery import Delivery, complete
from core.tracking.journal import Journal, Point, journal_path
from core.tracking.locations import is_below, local_path
from core.tracking.mlflow_client import DEFAULT_FOLDER, MlflowStore, is_file_store
from core.tracking.mlflow_delivery import MlflowReceiver, server_id
from core.tracking.mlflow_reader import MlflowReader
from core.tracking.mlflow_run import MlflowRun
from core.tracking.protocol import IDENTITY, NONE, PARENT, Columns, Leftover, SyncResult, Tags

log = logging.getLogger(__name__)
MOST_DELETED = 50_000  # deleted runs in one search


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
        """See `Tracker`. While a server does not answer, the run starts under a local id."""
        from mlflow.exceptions import MlflowException

        self.store.check_writable()
        if identity is not None:
            with contextlib.suppress(MachineError):
                for found in self.runs(experiment, tags={IDENTITY: identity}, columns=NONE):
                    known = self.continue_run(found.run_id)
                    known.log_params(params)  # its first process may have died before this
                    return known
        identity = identity or uuid.uuid4().hex
        all_tags = {**tags, IDENTITY: identity}
        if parent_id:
            all_tags[PARENT] = server_id(self.store_dir, parent_id)
        try:
            created = self.store.client.create_run(
                self.store.experiment_id(experiment), run_name=name, tags=all_tags
            )
        except MlflowException as error:
            if self.store.embedded:
                message = f"{shown(self.uri)}: cannot start a run: {in_words(error)}"
                raise MachineError(message) from None
            run = self._run(identity)
            run.begin(experiment, name, tags, parent_id)
        else:
            run = self._run(created.info.run_id)
        run.log_params(params)
        return run

    def continue_run(self, run_id: str) -> MlflowRun:
        """See `Tracker`."""
        self.store.check_writable()
        run = self._run(run_id)
        known = journal_path(self.store_dir, run_id).exists()
        run.reopen(() if known else self._points(run_id))
        return run

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
            with self.store.reading():
                found = self.store.client.get_run(run_id).info
            self.store.check_location(f"run {run_id[:8]}", found.artifact_uri)
        return MlflowReceiver(self.store.client, self.store_dir, run_id, self.store.experiment_id)

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
            except MachineError:
                busy.append(run_id)
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
        model_id = self._model_id(run_id)
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

    def store_view(self, experiment: str, columns: Columns, sort: str, ascending: bool) -> str:
        """See `Tracker`.

        MLflow keeps a shared view as an experiment tag `mlflow.sharedViewState.<id>`: JSON whose
        `state` is "deflate;" and the base64 of the zlib-compressed JSON of the page's state. The
        format is undocumented; a page that does not understand it opens without the view.
        """
        named = (*(f"params.`{key}`" for key in columns.params or ()),
                 *(f"metrics.`{key}`" for key in columns.metrics or ()))  # fmt: skip
        state = {
            "orderByKey": f"metrics.`{sort}`",
            "orderByAsc": ascending,
            "selectedColumns": [*named, "tags.`outcomes`"],
            "searchFilter": "tags.`level` = 'variant'",
            "viewMaximized": True,
        }
        packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
        key = hashlib.sha256(packed.encode()).hexdigest()[:16]
        now = int(time.time() * 1000)
        view = {"name": "leaderboard", "createdAt": now, "updatedAt": now,
                "state": f"deflate;{packed}"}  # fmt: skip
        self.store.client.set_experiment_tag(
            self.store.experiment_id(experiment), f"mlflow.sharedViewState.{key}", json.dumps(view)
        )
        return f"{self.link(experiment)}&viewStateShareKey={key}"


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
        return sum(_bytes(folder) for folder in [*folders, *own])

    def mark(self, run_ids: Sequence[str]) -> None:
        """Delete; `restore` undoes it."""
        for run_id in run_ids:
            self._client.delete_run(run_id)

    def restore(self, run_ids: Sequence[str]) -> None:
        """Undo `mark`."""
        for run_id in run_ids:
            self._client.restore_run(run_id)

    def leftovers(self) -> list[Leftover]:
        """Deleted runs, and files of runs that the store does not know."""
        from mlflow.entities import ViewType

        found = self._client.search_experiments(view_type=ViewType.ALL)
        names = {experiment.experiment_id: experiment.name for experiment in found}
        runs = self._client.search_runs(
            list(names), run_view_type=ViewType.DELETED_ONLY, max_results=MOST_DELETED
        )
        deleted = [
            Leftover(run.info.run_id, f"{names[run.info.experiment_id]}: {run.info.run_name}",
                     self.size(run.info.run_id), known=True)
            for run in runs
        ]  # fmt: skip
        return deleted + self._unknown()

    def _unknown(self) -> list[Leftover]:
        """Folders of runs that the store has in no state, and that have nothing to deliver."""
        from mlflow.exceptions import MlflowException

        runs = self._store_dir / "runs"
        unknown = []
        for folder in sorted(runs.iterdir()) if runs.is_dir() else []:
            if journal_path(self._store_dir, folder.name).exists():
                continue  # begun while the store did not answer; `textgan sync` delivers it
            try:
                self._client.get_run(folder.name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                found = Leftover(folder.name, "not in the store", _bytes(folder), known=False)
                unknown.append(found)
        return unknown

    def purge(self, leftover: Leftover) -> None:
        """Remove permanently; InputError through a server."""
        if leftover.known:
            self._purge_from_store(leftover.run_id)
        self._remove(self._store_dir / "runs" / leftover.run_id)
        journals = self._store_dir / "journal"
        for place in (journals / leftover.run_id, *journals.glob(f"{leftover.run_id}.*")):
            self._remove(place)

    def _purge_from_store(self, run_id: str) -> None:
        if self._store.uri.startswith("http"):
            raise InputError(
                f"{self._store.uri} is a server: run `mlflow gc` on its machine to remove runs"
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
        versions = self._client.search_model_versions()
        return {
            version.run_id: f"{version.name} version {version.version}"
            for version in versions
            if version.run_id in run_ids
        }

    def _models(self, run: Any) -> list[Any]:
        outputs = run.outputs.model_outputs if run.outputs else []
        return [self._client.get_logged_model(output.model_id) for output in outputs]


def _bytes(place: Path) -> int:
    if place.is_file():
        return place.stat().st_size
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
