"""The notebook runs from its first cell to its last on a study in the store, and plots it."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from experiments.cli import status
from tests.cluster.studies import TINY
from tests.conftest import ROOT

OVERRIDES = [*TINY, "study.name=demo", "study.metric=eval/jsd_bound", "study.margin=0.05",
             "study.seeds={until='settled', most=4}", "evaluation.every=1",
             "evaluation.sentences=100", "evaluation.references=100",
             "corpus.sentences=1000",  # FED, the curve, needs 40 for validation
             'study.axes={sampling=["detached", "gumbel_softmax"]}']  # fmt: skip


@pytest.mark.slow
def test_the_tour_runs_and_plots_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # other tests run beside it
    given = [part for setting in OVERRIDES for part in ("--set", setting)]
    assert status(["study", str(ROOT / "experiments" / "smoke" / "adaptive.toml"), *given]) == 0
    notebook = nbformat.read(ROOT / "docs" / "tour.ipynb", as_version=4)
    nbformat.validate(notebook)
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(ROOT / "docs")}},
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [o for o in outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == 2
    text = "".join(output.get("text", "") for output in outputs)
    assert "after 2 updates" in text
    assert "temperature 1.5" in text
    shown = "".join("".join(output.get("data", {}).values()) for output in outputs)
    for each in ("eval/jsd_bound", "settled", "bigram_samples"):
        assert each in shown
