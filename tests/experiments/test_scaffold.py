"""Files to begin with: a study that runs as it is, a strategy that passes at once."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.config.slots import FOLDERS
from core.process import environment
from experiments.scaffold import new_strategy
from tests.conftest import ROOT
from tests.experiments.test_cli import textgan

CHECK = """
import runpy
from experiments.check import try_strategy
from tests_of_new import FILES
from variants import registry
from variants.conformance import check
for slot, name, test in FILES:
    check(registry(), slot, name)
    if slot in ("temperature", "system"):  # what is copied is trained by other tests
        try_strategy(slot, name)
    runpy.run_path(test)[f"test_{name}_keeps_the_rules"]()
    print(slot)
"""


def test_a_new_study_file_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = textgan("study", "init", "first.toml", capsys=capsys)
    assert code == 0
    assert "written: first.toml; run it with: textgan study first.toml" in err
    plan = ["--dry-run", "--no-estimate", "--json"]
    code, out, err = textgan("study", "first.toml", *plan, capsys=capsys)
    assert code == 0, err
    found = json.loads(out)
    assert (found["study"], found["runs"], found["seeds"]) == ("first", 12, [0, 1, 2])
    before = Path("first.toml").read_text(encoding="utf-8")
    code, _, err = textgan("study", "init", "first.toml", capsys=capsys)
    assert (code, "first.toml: exists already" in err) == (2, True)
    assert Path("first.toml").read_text(encoding="utf-8") == before


def test_the_minimal_study_of_the_docs_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "howto" / "studies.md").read_text(encoding="utf-8")
    minimal = re.search(r"## A minimal file\n.*?```toml\n(.*?)```", page, re.DOTALL)
    assert minimal is not None
    Path("minimal.toml").write_text(minimal[1], encoding="utf-8")
    plan = ["--dry-run", "--no-estimate", "--json"]
    code, out, err = textgan("study", "minimal.toml", *plan, capsys=capsys)
    assert code == 0, err
    assert json.loads(out)["runs"] == 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("study init first.txt", "first.txt: the name of a study file must end in .toml"),
        ("study init no/first.toml", "no/first.toml: there is no folder no"),
        ("study a.toml b.toml", "b.toml: give one study file"),
        ("variants new penalty none", "penalty.none: there is a strategy of this name"),
        ("variants new penalty a-b", "penalty.a-b: a name has a-z, 0-9 and _"),
        ("variants new penalty class", "penalty.class: a name has a-z, 0-9 and _"),
        ("variants new penaltyy mine", "no slot 'penaltyy'; did you mean 'penalty'"),
        ("variants new penalty", "variants new: give SLOT NAME"),
    ],
)
def test_bad_names_get_words(
    arguments: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = textgan(*arguments.split(), capsys=capsys)
    assert (code, out) == (2, "")
    assert words in " ".join(err.split())
    assert not [*Path().iterdir()]


@pytest.mark.slow
def test_a_new_study_file_runs(capsys: pytest.CaptureFixture[str]) -> None:
    textgan("study", "init", capsys=capsys)
    tiny = ["study.budget.updates=2", "study.seeds=1", "study.axes.penalty=['none']",
            "corpus.sentences=300", "evaluation.sentences=90", "evaluation.references=90",
            "train.batch_size=4", "evaluation.gradients=0", "generator.width=8",
            "generator.hidden=8"]  # fmt: skip
    small = [part for each in tiny for part in ("--set", each)]
    code, out, err = textgan("study", "study.toml", *small, "--json", capsys=capsys)
    assert code == 0, err
    assert (json.loads(out)["runs"], json.loads(out)["failed"]) == (2, 0)


@pytest.mark.slow
def test_a_new_strategy_of_every_slot_passes_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "variants", tree / "variants")
    (tree / "tests" / "variants").mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", tree)  # its exceptions are by path
    monkeypatch.setattr("experiments.scaffold.ROOT", tree)
    made = [(slot, f"my_{slot}", *new_strategy(slot, f"my_{slot}")) for slot in FOLDERS]
    files = [file for _, _, *pair in made for file in pair]
    for check in (["check"], ["format", "--check"]):
        found = subprocess.run(
            [sys.executable, "-m", "ruff", *check, "--no-cache", *files],
            cwd=tree, capture_output=True, text=True,
        )  # fmt: skip
        assert found.returncode == 0, found.stdout
    listed = [(slot, name, str(test)) for slot, name, _, test in made]
    (tree / "tests_of_new.py").write_text(f"FILES = {listed!r}\n", encoding="utf-8")
    found = subprocess.run(
        [sys.executable, "-c", CHECK], env=environment() | {"PYTHONPATH": f"{tree}:{ROOT}"},
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert found.stdout.split() == [*FOLDERS], found.stderr[-2000:]
