"""A study of the store as a Python object, for notebooks and scripts.

from experiments import load_study

study = load_study("design_axes")
study.runs().groupby("variant")["score"].mean()
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from core.errors import InputError, nearest
from core.metrics.catalogue import metric_info
from core.tracking.mlflow_store import existing_tracker
from core.tracking.protocol import ENDED, RunRecord, Tracker, find_run, study_run
from experiments.generate import SentenceSampler
from experiments.listing import LEVELS, as_rows, runs_of
from experiments.single_run.checkpoints import sampler_of
from studies.report import check_has_rows, document, read
from studies.sections import Reading, samples_of

WHO = ["run_id", "variant", "seed"]  # columns that say whose a value or a sentence is
FLAGS = {"True": True, "False": False}


def load_study(study: str, store: str | Path | None = None) -> StoredStudy:
    """A study, by its name or by the id of its own run.

    `store` is a store's folder or address, by default that of MLFLOW_TRACKING_URI or `mlruns` in
    the current folder. InputError for an unknown study, with the nearest name, and where there is
    no store.
    """
    if store is not None and Path(store).is_dir():
        store = f"sqlite:///{Path(store).resolve() / 'mlflow.db'}"
    tracker = existing_tracker(None if store is None else str(store), f"study {study!r}")
    return StoredStudy(study_run(tracker, study).experiment, tracker)


@dataclass(frozen=True)
class StoredStudy:
    """A study as it is in the store at the first look at it; `load_study` again reads it anew.

    A run is given by its id, by the beginning of its id, or by its name.
    """

    name: str
    tracker: Tracker = field(repr=False)

    @cached_property
    def reading(self) -> Reading:
        """What reports are made from: leaderboard, `[study]` table, runs."""
        return read(self.tracker, self.name)

    @cached_property
    def records(self) -> Sequence[RunRecord]:
        """The training runs, oldest first; of a study on several corpora those of all."""
        found = runs_of(self.tracker, self.name)
        return [run for run in found if run.tags.get("level") in LEVELS]

    @property
    def metric(self) -> str:
        """The metric that ranks, such as `eval/jsd_bound`."""
        return self.reading.board.metric

    def runs(self) -> pd.DataFrame:
        """One row per training run, trials of searches included (`level` is `trial`).

        Columns: `run_id`, `study`, `variant`, `seed`, `outcome`, `started`, `seconds`, `updates`,
        `level`, `system`, ...; settings by dotted name, as numbers and booleans where they are;
        metrics of the last evaluation (`eval/...`, `test/...`); and `score`, the value of the
        metric that ranks. A run that failed without samples has the metric's worst value.
        """
        frame = pd.DataFrame(as_rows(self.records))
        for key in {key for run in self.records for key in run.params} & {*frame}:
            frame[key] = _typed(frame[key])
        scores = [self._score(run) for run in self.records]
        return frame.assign(score=pd.Series(scores, dtype=float))

    def curves(self, *metrics: str) -> pd.DataFrame:
        """Metrics during training, all of them if none is named: `run_id`, `variant`, `seed`,
        `metric`, `step` (updates), `value`. InputError for a metric that no run has.
        """
        known = {key for run in self.records for key in run.metrics}
        for unknown in {*metrics} - known:
            raise InputError(f"study {self.name!r}: no metric {unknown!r}{nearest(unknown, known)}")
        found = [
            (*_who(run), metric, step, value)
            for run in self.records
            for metric in metrics or sorted(run.metrics)
            for step, value in self.tracker.history(run.run_id, metric)
        ]
        return pd.DataFrame(found, columns=[*WHO, "metric", "step", "value"])

    def sentences(self, run: str) -> pd.DataFrame:
        """The samples of a run at up to five evaluations: `step` (updates), `row`, `text`. A row is
        the same latent at every step, and in every run with the same seed.
        """
        found = samples_of(self.tracker, find_run(self.records, run).run_id)
        frame = pd.DataFrame(found, columns=["step", "row", "text"])
        return frame.sort_values(["step", "row"], ignore_index=True)

    def model(self, run: str, checkpoint: str | None = None) -> SentenceSampler:
        """A run's generator: `.sample(n, temperature, seed)` draws sentences. `checkpoint` is one
        that was kept: `best` or an update.
        """
        return sampler_of(self.tracker, find_run(self.records, run).run_id, checkpoint)

    def leaderboard(self) -> pd.DataFrame:
        """One row per variant, best first: `variant`, `score`, `low` and `high` (95% interval),
        `seeds`, `failures`, `verdict` against the first row, ... InputError for a study on several
        corpora, with the names of the studies that have one.
        """
        check_has_rows(self.reading)
        frame = pd.DataFrame(self.document()["leaderboard"])
        unknown = [name for name in frame if frame[name].isna().all()]
        return frame.astype(dict.fromkeys(unknown, float))  # of None it would be one of objects

    def document(self) -> dict[str, Any]:
        """Leaderboard, contrasts, scores of real text: what `textgan report --json` prints."""
        return document(self.reading)

    def _score(self, run: RunRecord) -> float | None:
        table = self.reading.table
        metric = table.picked(table.metric) if run.tags["level"] == "trial" else self.metric
        return run.metrics.get(metric, metric_info(metric).worst if run.outcome in ENDED else None)


def _who(run: RunRecord) -> tuple[str, str, int]:
    return run.run_id, run.variant, int(run.tags["seed"])


def _typed(texts: pd.Series) -> pd.Series:
    """Settings, which the store has as text, as numbers or booleans if all are."""
    with suppress(ValueError):
        return pd.to_numeric(texts)
    return texts.map(FLAGS) if texts.dropna().isin(FLAGS).all() else texts
