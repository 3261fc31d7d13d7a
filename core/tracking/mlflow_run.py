"""One MLflow run, being written: everything goes to its journal and from there to the store."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple
from importlib.metadata import version
from pathlib import Path
from typing import Any

from core.tracking.delivery import Delivery, DeliveryThread, Receiver
from core.tracking.journal import Journal, Point, journal_path, now
from core.tracking.mlflow_delivery import SCORES
from core.tracking.protocol import RunTracker, Tags

log = logging.getLogger(__name__)
LONGEST_PARAM = 6000
PARAMS_PER_CALL = 100
SERVED = Path(__file__).with_name("served_generator.py")


def longest_wait() -> float:
    """Seconds that the end of a run waits for delivery: TEXTGAN_WAIT_SECONDS, or 30."""
    try:
        return max(0.0, float(os.environ.get("TEXTGAN_WAIT_SECONDS", "30")))
    except ValueError:
        return 30.0


class MlflowRun(RunTracker):
    """See `core.tracking.protocol.RunTracker`. Open from the first thing written to `flush`."""

    def __init__(self, store_dir: Path, run_id: str, receiver: Receiver) -> None:
        self.run_id = run_id
        self._path, self._receiver = journal_path(store_dir, run_id), receiver
        self._opened: tuple[Journal, DeliveryThread] | None = None

    @contextlib.contextmanager
    def _journal(self) -> Iterator[Journal]:
        if self._opened is None:
            journal = Journal(self._path)
            self._opened = journal, DeliveryThread(Delivery(self._path, self._receiver))
        journal, delivery = self._opened
        yield journal
        delivery.wake()

    def begin(self, experiment: str, name: str, tags: Tags, parent_id: str | None) -> None:
        """Create the run in the store later: the store does not answer now."""
        with self._journal() as journal:
            journal.entry("begin", experiment=experiment, name=name, tags=dict(tags),
                          parent=parent_id, time=now())  # fmt: skip

    def reopen(self, known: Iterable[Point] = ()) -> None:
        """Set the status to running; `known` are the points of other machines."""
        with self._journal() as journal:
            journal.points(known)
            journal.entry("status", status="RUNNING")

    def log_metrics(self, values: Mapping[str, float | None], step: int) -> None:
        """See `RunTracker`."""
        with self._journal() as journal:
            journal.metrics({k: v for k, v in values.items() if v is not None}, step)

    def log_params(self, params: Mapping[str, object]) -> None:
        """See `RunTracker`."""
        pairs = [(key, str(value)[:LONGEST_PARAM]) for key, value in params.items()]
        for start in range(0, len(pairs), PARAMS_PER_CALL):
            with self._journal() as journal:
                journal.entry("params", values=dict(pairs[start : start + PARAMS_PER_CALL]))

    def set_tags(self, tags: Tags) -> None:
        """See `RunTracker`."""
        with self._journal() as journal:
            journal.entry("tags", values=dict(tags))

    def log_file(self, path: str, make: Callable[[Path], object]) -> None:
        """See `RunTracker`."""
        with self._journal() as journal:
            journal.replace_file(path, make)

    def log_dataset(self, name: str, fingerprint: str, source: str, split: str) -> None:
        """See `RunTracker`."""
        with self._journal() as journal:
            journal.entry("dataset", name=name, fingerprint=fingerprint, source=source, split=split)

    def log_model(self, folder: Path, step: int = 0, *, kept: bool = False) -> None:
        """See `RunTracker`."""
        with self._journal() as journal:
            # The same for the same checkpoint: a run that ends a second time replaces its model.
            identity = f"{self.run_id}/{step}" if kept else self.run_id
            scores = [astuple(p) for start in SCORES for p in journal.at(step, start)]
            journal.file("model", "model", lambda at: _package(folder, at), identity=identity,
                         step=step, scores=scores)  # fmt: skip

    def history(self, metric: str) -> list[tuple[int, float]]:
        """See `RunTracker`."""
        with self._journal() as journal:
            return journal.history(metric)

    def persist(self) -> None:
        """See `RunTracker`."""
        with self._journal() as journal:
            journal.persist()

    def flush(self) -> bool:
        """See `RunTracker`."""
        if self._opened is None:
            return True
        journal, delivery = self._opened
        self._opened = None
        journal.persist()
        complete = delivery.close(longest_wait())
        self.rejected = delivery.rejected
        if complete:
            shutil.rmtree(journal.spool, ignore_errors=True)
        else:
            log.warning("run %s: values wait here; `textgan sync` delivers them", self.run_id[:8])
        journal.close()
        return complete

    def end(self, status: str) -> None:
        """See `RunTracker`."""
        with self._journal() as journal:
            journal.entry("status", status=status, time=now())
        self.flush()


def _package(folder: Path, place: Path) -> None:
    """Save a generator's folder as a pyfunc model. The fluent `log_model` would set the process's
    tracking address and active run.
    """
    from mlflow.pyfunc import save_model
    from mlflow.utils import environment

    # It reads the metadata of every installed package, to check that of the one named here.
    environment.warn_dependency_requirement_mismatches = lambda _: None
    advice = io.StringIO()  # on type hints and input examples: this model takes no input
    with (
        contextlib.redirect_stdout(advice),
        contextlib.redirect_stderr(advice),
        warnings.catch_warnings(action="ignore", category=UserWarning),
    ):
        save_model(
            place,
            python_model=str(SERVED),
            artifacts={"folder": folder.absolute().as_uri()},  # MLflow decodes a path too
            signature=_signature(),
            pip_requirements=[f"textgan-lab=={version('textgan-lab')}"],
        )


def _signature() -> Any:
    """Parameters in, text out. No input schema, so that None, `[]` and a table are accepted."""
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import ColSpec

    n, seed = ParamSpec("n", "integer", 20), ParamSpec("seed", "long", 0)
    params = ParamSchema([n, ParamSpec("temperature", "double", 1.0), seed])
    return ModelSignature(outputs=Schema([ColSpec("string", name="text")]), params=params)
