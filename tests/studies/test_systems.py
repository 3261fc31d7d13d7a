"""The kind `systems`: whole systems side by side, as their files say."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InputError
from experiments.loading import resolve_file
from studies.definition import load_study
from studies.report import read, sections
from tests.studies.test_search import Landscape, go
from variants import registry

STUDY = """
[study]
name = "side by side"
kind = "systems"
metric = "eval/ms_jaccard_2"
seeds = [3, 5, 8]
systems = ["mle", {system = "mle", label = "slow", set = {"train.generator_lr" = 1e-5}}]
contrasts = [{level = "mle", reference = "slow"}]

[study.budget]
updates = 20
"""


def test_every_system_runs_with_every_seed_and_is_tested(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(STUDY)
    study = load_study(file, [], registry(), resolve_file)
    jobs = study.kind.plan(()).jobs
    assert [job.key for job in jobs[:3]] == [("mle", 3), ("slow", 3), ("mle", 5)]
    assert all(job.tested and job.arm is None for job in jobs)
    assert {job.variant.config.train.updates for job in jobs} == {20}
    assert "2 systems x 3 seeds; budget of each run: 20 updates" in study.kind.describe()
    tracker, _ = go(tmp_path, study, Landscape())
    reading = read(tracker, "side by side")
    assert reading.board.metric == "test/ms_jaccard_2"
    pairs = next(section for section in sections(reading) if section.key == "pairs")
    assert [row[0] for row in pairs.rows] == ["mle - slow"]


def test_a_contrast_of_a_row_that_is_not_there_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(STUDY.replace('reference = "slow"', 'reference = "fast"'))
    with pytest.raises(InputError, match="no variant 'fast'; known: mle, slow"):
        load_study(file, [], registry(), resolve_file)
