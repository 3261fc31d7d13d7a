"""One MLflow run, being written. Metrics go through the journal; the rest is written at once."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.tracking.journal import Journal, Point
from core.tracking.protocol import Outcome, Sample
from core.tracking.samples import as_page, as_table, as_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST_PARAM = 6000
LONGEST_DESCRIPTION = 8000
MODEL = "generator"
STATUS = {"killed": "KILLED", "failed": "FAILED"}
WAIT_SECONDS = 30.0  # at the end of a run, for values still on their way
SERVED = Path(__file__).with_name("served_generator.py")


class MlflowRun:
    """See `core.tracking.protocol.RunTracker`."""

    def __init__(self, client: Any, uri: str, world: Path, run_id: str) -> None:
        self.run_id = run_id
        self._client, self._uri = client, uri
        self._journal_path = world / "journal" / f"{run_id}.jsonl"
        self._journal: Journal | None = None

    def log_metrics(self, values: Mapping[str, float | None], step: int) -> None:
        """See `RunTracker`."""
        if self._journal is None:
            self._journal = Journal(self._journal_path, self._send)
        self._journal.append({k: v for k, v in values.items() if v is not None}, step)

    def _send(self, points: list[Point]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(p.key, p.value, p.time, p.step) for p in points]
        self._client.log_batch(self.run_id, metrics=metrics)

    def log_params(self, params: Mapping[str, object]) -> None:
        """See `RunTracker`."""
        from mlflow.entities import Param

        entities = [Param(k, str(v)[:LONGEST_PARAM]) for k, v in params.items()]
        for start in range(0, len(entities), 100):
            self._client.log_batch(self.run_id, params=entities[start : start + 100])

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """See `RunTracker`."""
        from mlflow.entities import RunTag

        self._client.log_batch(self.run_id, tags=[RunTag(k, v) for k, v in tags.items()])

    def describe(self, markdown: str) -> None:
        """See `RunTracker`."""
        self._client.set_tag(self.run_id, "mlflow.note.content", markdown[:LONGEST_DESCRIPTION])

    def log_samples(self, samples: Sequence[Sample]) -> None:
        """See `RunTracker`."""
        self._client.log_dict(self.run_id, as_table(samples), "samples.json")
        self._client.log_text(self.run_id, as_page(samples), "samples.html")
        self._client.log_text(self.run_id, as_text(samples), "samples.txt")
        # What makes the UI show the file as a table, and compare it across runs.
        tables = json.dumps([{"path": "samples.json", "type": "table"}])
        self._client.set_tag(self.run_id, "mlflow.loggedArtifacts", tables)

    def log_text(self, text: str, path: str) -> None:
        """See `RunTracker`."""
        self._client.log_text(self.run_id, text, path)

    def log_figure(self, figure: Figure, path: str) -> None:
        """See `RunTracker`."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / Path(path).name
            for suffix in (".png", ".svg"):
                figure.savefig(file.with_suffix(suffix), dpi=150, bbox_inches="tight")
                place = str(Path(path).parent) if Path(path).parent != Path() else None
                self._client.log_artifact(self.run_id, str(file.with_suffix(suffix)), place)

    def log_dataset(self, name: str, fingerprint: str, source: str) -> None:
        """See `RunTracker`."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=name,
            digest=fingerprint[:16],
            source_type="local",
            source=json.dumps({"source": source}),
            profile=json.dumps({"fingerprint": fingerprint}),
        )
        tag = InputTag(key="mlflow.data.context", value="training")
        self._client.log_inputs(self.run_id, datasets=[DatasetInput(dataset, [tag])])

    def log_model(self, folder: Path) -> None:
        """See `RunTracker`."""
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus
        from mlflow.models import Model
        from mlflow.pyfunc import save_model

        # The fluent `log_model` would set the process's tracking address and active run.
        client, run_id = self._client, self.run_id
        experiment = client.get_run(run_id).info.experiment_id
        logged = client.create_logged_model(experiment, MODEL, run_id, model_type="generator")
        with tempfile.TemporaryDirectory() as temporary:
            place = Path(temporary) / "model"
            with _quiet():
                save_model(
                    place,
                    python_model=str(SERVED),
                    artifacts={"folder": str(folder)},
                    signature=_signature(),
                    pip_requirements=[f"textgan-lab=={version('textgan-lab')}"],
                    mlflow_model=Model(run_id=run_id, model_id=logged.model_id),
                )
            client.log_model_artifacts(logged.model_id, str(place))
        client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])

    def flush(self) -> bool:
        """See `RunTracker`."""
        complete = self._journal is None or self._journal.close(WAIT_SECONDS)
        self._journal = None
        return complete

    def finish(self, outcome: Outcome, reason: str = "") -> None:
        """See `RunTracker`."""
        tags = {"outcome": outcome, "delivered": str(self.flush()).lower()}
        self.set_tags({**tags, "reason": reason} if reason else tags)
        self._client.set_terminated(self.run_id, STATUS.get(outcome, "FINISHED"))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """MLflow recommends type hints and examples that a model without an input has no use for."""
    chatter = io.StringIO()
    with (
        contextlib.redirect_stdout(chatter),
        contextlib.redirect_stderr(chatter),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", UserWarning)
        yield


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import ColSpec

    params = ParamSchema(
        [
            ParamSpec("n", "integer", 20),
            ParamSpec("temperature", "double", 1.0),
            ParamSpec("seed", "long", 0),
        ]
    )
    prompt = ColSpec("string", name="prompt", required=False)
    return ModelSignature(Schema([prompt]), Schema([ColSpec("string", name="text")]), params)
