"""Fidelity tables: every setting of a system has a row, and every difference a reason."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from docs.fidelity import Fidelity, faults
from experiments.loading import SYSTEMS, systems

TESTS = Path(__file__).parents[1] / "fidelity"
READ = sorted(file.stem for file in (SYSTEMS / "fidelity").glob("*.toml"))


@pytest.mark.parametrize("system", READ)
def test_every_setting_has_a_row_and_every_difference_a_reason(system: str) -> None:
    assert not faults(system)


def test_every_system_has_a_table_and_every_table_a_system() -> None:
    assert set(READ) == set(systems())


@pytest.mark.parametrize("system", READ)
def test_every_system_has_an_operative_test(system: str) -> None:
    tree = ast.parse((TESTS / f"test_{system}.py").read_text())
    marked = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert any(
        "mark.fidelity" in ast.unparse(decorator)
        for node in marked
        for decorator in node.decorator_list
    )


def test_faults_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Fidelity.model_validate(
        {
            "paper": "none", "code": "none",
            "strategies": {"generator": "gru"},
            "settings": {
                "train.batch_size": {"published": 32, "authors": 64},
                "train.beta1": {"published": 0.5},
                "train.beta2": {"published": 0.5, "why": "our choice"},
                "train.nothing": {},
            },
            "choices": {"a choice": {"ours": "this", "same": False}},
        }
    )  # fmt: skip
    monkeypatch.setattr("docs.fidelity.fidelity", lambda system: table)
    found = faults("mle")
    assert "no setting train.nothing" in found
    assert [each for each in found if each.startswith("the table is about {'generator': 'gru'}")]
    assert "train.beta1: ours 0.9, theirs 0.5, and no reason" in found
    assert "a choice: not the same, and no reason" in found
    assert "no row for train.clip (ours None)" in found
    assert not [each for each in found if "batch_size" in each or "beta2" in each or "ema" in each]
