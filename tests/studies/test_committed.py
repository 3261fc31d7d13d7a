"""Every study file that comes with the harness is one, and says how it is run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.loading import resolve_file
from studies.definition import load_study
from tests.conftest import ROOT
from variants import registry

FILES = sorted((ROOT / "experiments" / "studies").glob("*.toml"))
DOCUMENTS = {file.stem: json.loads(file.read_text()) for file in (ROOT / "results").glob("*.json")}
SUMMARIES = {name: document for name, document in DOCUMENTS.items() if "runs" in document}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_study_file_loads_and_names_its_command(file: Path) -> None:
    study = load_study(file, [], registry(), resolve_file)
    assert study.variants
    assert study.table.name == file.stem
    assert study.table.question.endswith("?")
    header = file.read_text(encoding="utf-8").partition("\n\n[")[0]
    assert f"textgan study experiments/studies/{file.name}" in header


@pytest.mark.parametrize("name", sorted(SUMMARIES))
def test_a_result_names_a_committed_study_and_no_path_of_a_machine(name: str) -> None:
    commands = [run["tags"].get("command", "") for run in SUMMARIES[name]["runs"]]
    (command,) = filter(None, commands)
    assert command.split()[:2] == ["textgan", "study"]
    assert ROOT / command.split()[2] in FILES
    text = json.dumps(SUMMARIES[name])
    assert not [place for place in ("/tmp/", "/home/", "/root/", "/work/") if place in text]


def test_each_row_of_the_demo_reverts_one_choice_of_a_base_that_learns() -> None:
    study = load_study(FILES[0].with_name("demo.toml"), [], registry(), resolve_file)
    base, *others = [variant.config.flat() for variant in study.variants]
    assert base["estimator.log_ratio"]
    assert base["schedule.name"] == "adversarial"
    changed = [
        {key.partition(".")[0] for key in row.keys() | base if row.get(key) != base.get(key)}
        - {"name"}
        for row in others
    ]
    sampling = {"sampling", "estimator"}  # relaxed tokens have another estimator
    inputs, mappings = [{"next_input"}] * 2, [{"noise_mapping"}] * 2
    assert changed == [*inputs, *mappings, sampling, {*sampling, "noise_mapping"}]
    budgets = {(row["train.minutes"], row["train.clock"]) for row in (base, *others)}
    assert budgets == {(24 / 60, "cpu")}
