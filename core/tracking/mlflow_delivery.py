"""Applies a journal's entries to MLflow. Applying one twice has the same effect as once.

MLflow stores a point once for its key, value, time and step; tags, parameters and artifacts
overwrite themselves; a run and a model carry the identity that the journal gave them, and are
searched for before they are created.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from core.errors import DeletedError, first_line
from core.files import write_atomically
from core.tracking.delivery import RefusedError
from core.tracking.journal import Entry, Point, items, journal_path
from core.tracking.protocol import IDENTITY, own_tags

MODEL = "generator"
LONGEST_MODEL = 200  # characters of a model's name
CONTEXT = "mlflow.data.context"  # the tag with the split of a dataset
SCORES = {"eval": "validation", "test": "test"}  # beginning of a metric's name: split
ABSENT = "RESOURCE_DOES_NOT_EXIST"  # MLflow's code for what it does not have
PERMANENT = {"INVALID_PARAMETER_VALUE", ABSENT}
# MLflow answers BAD_REQUEST for every error of its database. An invalid value is refused
# permanently; an exhausted pool or a closed connection is not.
ANY_DATABASE, OF_VALUES = "BAD_REQUEST", ("DataError", "IntegrityError", "ProgrammingError")
REFUSED_UPLOAD = (400, 413)  # HTTP status codes
CONFLICT = ("IntegrityError", "UniqueViolation", "UNIQUE constraint")
CONFLICT_TRIES = 5  # a row that exists after so many tries is no race
INACTIVE = re.compile(r"The (run|experiment) (\w+) must be in the 'active' state")
Experiment = Callable[[str, str | None], str]  # name and parent run -> id


def server_id(store_dir: Path, run_id: str) -> str:
    """The store's id of a run; it differs from ours if the run began while the store was away."""
    place = journal_path(store_dir, run_id).with_suffix(".id")
    return place.read_text(encoding="utf-8") if run_id.isalnum() and place.exists() else run_id


def begins_here(store_dir: Path, run_id: str) -> bool:
    """Whether the run began while the store was away, and waits here to be delivered."""
    path = journal_path(store_dir, run_id)
    if path.with_suffix(".id").exists():
        return False
    first, _ = next(items(path), (None, 0))
    return isinstance(first, Entry) and first.do == "begin"


def twins(client: Any, experiment: str, identity: str) -> list[str]:
    """Ids of the experiment's runs with this identity, oldest first; of an active experiment."""
    wanted = f"tags.`{IDENTITY}` = '{identity}'"
    found = client.search_runs([experiment], wanted, order_by=["start_time ASC"])
    return [run.info.run_id for run in found]


def is_refusal(error: Any, *, remote: bool) -> bool:
    """Whether the store will never accept the request. Of a server, only its own answer counts, not
    the page of a proxy in front of it.
    """
    own = getattr(error, "json", None) is not None or not remote
    return own and _is_permanent(error.error_code, str(error))


def deleted(client: Any, error: Exception) -> DeletedError | None:
    """An error of MLflow that says that a run or an experiment is deleted, in words."""
    found = INACTIVE.search(str(error))
    if found is None:
        return None
    what, key = found.groups()
    return deletion(what, key if what == "run" else client.get_experiment(key).name)


def deletion(what: str, key: str) -> DeletedError:
    """The error for a deleted run or experiment."""
    name = key if what == "run" else repr(key)
    return DeletedError(
        f"{what} {name} is deleted; restore it with `textgan runs restore {shlex.quote(key)}`, "
        f"then `textgan sync` delivers what waits here"
    )


class MlflowReceiver:
    """Receives one run's journal; `experiment` finds or creates the experiment of a new run."""

    def __init__(self, client: Any, store_dir: Path, run_id: str, experiment: Experiment) -> None:
        self._client, self._store_dir, self._run = client, store_dir, run_id
        self._experiment = experiment

    @property
    def run_id(self) -> str:
        """The run's id in the store."""
        return server_id(self._store_dir, self._run)

    def points(self, points: Sequence[Point]) -> None:
        """See `Receiver`."""
        from mlflow.entities import Metric

        metrics = [Metric(p.key, p.value, p.time, p.step) for p in points]
        self._try(lambda: self._client.log_batch(self.run_id, metrics=metrics))

    def entry(self, entry: Entry, file: Path | None) -> None:
        """See `Receiver`. An artifact whose file is gone was replaced by a newer one."""
        actions = {"begin": self._begin, "params": self._params, "tags": self._tags,
                   "status": self._status, "dataset": self._dataset}  # fmt: skip
        uploads = {"artifact": self._artifact, "model": self._model}
        do, content = entry.do, entry.content
        if do not in actions and do not in uploads:
            raise RefusedError(f"an entry {do!r}, which this version does not know")
        if do in uploads and file is None:
            raise RefusedError(f"an entry {do!r} without a file")
        try:
            if do in actions:
                self._try(lambda: actions[do](content))
            elif file is not None and file.exists():
                self._try(lambda: uploads[do](content, file))
        except FileNotFoundError:
            if file is None or file.exists():
                raise  # else a newer version replaced it meanwhile
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise RefusedError(f"not an entry {do!r} of a journal ({error!r})") from None

    def _try(self, act: Callable[[], None], tries: int = CONFLICT_TRIES) -> None:
        from mlflow.exceptions import MlflowException
        from requests import HTTPError

        try:
            act()
        except MlflowException as error:
            # MLflow selects a row and then inserts it. If another worker inserted it in between,
            # the next try finds that row.
            if tries > 1 and any(word in str(error) for word in CONFLICT):
                self._try(act, tries - 1)
                return
            if found := deleted(self._client, error):
                raise found from None
            if is_refusal(error, remote=str(self._client.tracking_uri).startswith("http")):
                raise RefusedError(first_line(error)) from None
            raise
        except HTTPError as error:
            if error.response is not None and error.response.status_code in REFUSED_UPLOAD:
                raise RefusedError(str(error)[:300]) from None
            raise

    def _begin(self, content: Mapping[str, Any]) -> None:
        place = journal_path(self._store_dir, self._run).with_suffix(".id")
        if place.exists():
            return
        parent = content.get("parent") and server_id(self._store_dir, content["parent"])
        experiment = self._experiment(content["experiment"], parent)
        tags = own_tags(content["tags"], self._run, parent)
        if not twins(self._client, experiment, self._run):
            self._client.create_run(
                experiment, start_time=content["time"], run_name=content["name"], tags=tags
            )
        # If an answer was lost, the run exists already, perhaps twice.
        first, *others = twins(self._client, experiment, self._run)
        for other in others:
            self._client.delete_run(other)
        write_atomically(place, first)
        ours, theirs = (self._store_dir / "runs" / name for name in (self._run, first))
        if ours.exists() and not theirs.exists():
            theirs.symlink_to(ours.name)

    def _params(self, content: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(key, value) for key, value in content["values"].items()]
        self._client.log_batch(self.run_id, params=params)

    def _tags(self, content: Mapping[str, Any]) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(key, value) for key, value in content["values"].items()]
        self._client.log_batch(self.run_id, tags=tags)

    def _status(self, content: Mapping[str, Any]) -> None:
        if content.get("time"):
            self._client.set_terminated(self.run_id, content["status"], content["time"])
        else:
            self._client.update_run(self.run_id, status=content["status"])

    def _dataset(self, content: Mapping[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        split = content.get("split", "training")  # earlier versions logged this one alone
        dataset = Dataset(
            name=content["name"] + (f" {split}" if split != "training" else ""),
            digest=content["fingerprint"][:16],
            source_type="local",
            source=json.dumps({"source": content["source"]}),
            profile=json.dumps({"fingerprint": content["fingerprint"]}),
        )
        tag = InputTag(key=CONTEXT, value=split)
        self._client.log_inputs(self.run_id, datasets=[DatasetInput(dataset, [tag])])

    @cached_property
    def _artifacts(self) -> Any:
        """The artifacts of the run, which exists by now."""
        return self._repository(self._client.get_run(self.run_id).info.artifact_uri)

    def _repository(self, location: str) -> Any:
        """MLflow's client keeps these by the id of the run alone, which is the same in a copy of
        the store.
        """
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return get_artifact_repository(location, tracking_uri=self._client.tracking_uri)

    def upload(self, folder: Path) -> None:
        """Every file below `folder` as an artifact, not by way of the journal."""
        self._artifacts.log_artifacts(str(folder))

    def _artifact(self, content: Mapping[str, Any], file: Path) -> None:
        folder = str(Path(content["path"]).parent)
        self._artifacts.log_artifact(str(file), None if folder == "." else folder)

    def _model(self, content: Mapping[str, Any], file: Path) -> None:
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric
        from mlflow.models import Model
        from mlflow.utils.yaml_utils import read_yaml

        client, identity, run_id = self._client, content["identity"], self.run_id
        step, run = content.get("step", 0), client.get_run(run_id)
        experiment = run.info.experiment_id
        wanted = f"tags.`{IDENTITY}` = '{identity}'"
        found = client.search_logged_models([experiment], wanted)
        name = re.sub(r"\W+", "-", run.info.run_name or "").strip("-") or MODEL
        name, kind = name[:LONGEST_MODEL], MODEL
        if "/" in identity:
            name, kind = f"{name}-update-{step}", "checkpoint"
        model = (found and found[0]) or client.create_logged_model(
            experiment, name, run_id, tags={IDENTITY: identity}, model_type=kind
        )
        # Not with `load`, which decodes the path as if it was a URI.
        described = Model.from_dict(read_yaml(str(file), "MLmodel"))
        described.run_id, described.model_id = run_id, model.model_id
        described.save(str(file / "MLmodel"))
        self._repository(model.artifact_location).log_artifacts(str(file))
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        known = run.outputs
        if not known or model.model_id not in {m.model_id for m in known.model_outputs}:
            client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=step)])
        # At the times of the run's own points, which are therefore stored once.
        inputs = run.inputs.dataset_inputs if run.inputs else ()
        data = {tag.value: (i.dataset.name, i.dataset.digest) for i in inputs for tag in i.tags}
        scores = [
            Metric(*point, model.model_id, *data.get(SCORES.get(point[0][:4], ""), ()))
            for point in content.get("scores", ())
        ]
        if scores:
            client.log_batch(run_id, metrics=scores)


def _is_permanent(code: str, message: str) -> bool:
    """Whether a store that answers this will never accept the request."""
    of_values = code == ANY_DATABASE and any(word in message for word in OF_VALUES)
    return code in PERMANENT or of_values
