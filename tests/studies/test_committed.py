"""Every study file that comes with the harness is one, and says how it is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.loading import resolve_file
from studies.definition import load_study
from tests.conftest import ROOT
from variants import registry

FILES = sorted((ROOT / "experiments" / "studies").glob("*.toml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_study_file_loads_and_names_its_command(file: Path) -> None:
    study = load_study(file, [], registry(), resolve_file)
    assert study.variants
    assert study.table.name == file.stem
    assert study.table.question.endswith("?")
    header = file.read_text(encoding="utf-8").partition("\n\n[")[0]
    assert f"textgan study experiments/studies/{file.name}" in header
