"""The wheel holds everything: it works where there is no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

SMALL = ("train.updates=2", "evaluation.every=2", "evaluation.sentences=20", "kernels=torch",
         "evaluation.references=20", "evaluation.gradients=0", "corpus.sentences=300",
         "corpus.difficulty=easy")  # fmt: skip
# One process, because each imports for seconds.
SCRIPT = """
import sys
from pathlib import Path

import core
from experiments.cli import status

assert Path(core.__file__).is_relative_to(sys.argv[1]), core.__file__
small = sys.argv[2:]
study = '''[study]
name = "outside"
kind = "ablation"
base = "mle"
question = "Does it run outside of a checkout?"
seeds = 1
metric = "eval/ms_jaccard_2"
likelihood = false

[study.axes]
sampling = ["gumbel_softmax", "straight_through"]
'''
Path("outside.toml").write_text(study)
for command in (
    ["doctor"],
    ["run", "mle", *small],
    ["study", "outside.toml", "--workers", "1", *small],
):
    code = status(command)
    assert code == 0, command
assert "scipy.stats" not in sys.modules, "its import takes half a second of every report"
"""


@pytest.mark.slow
def test_the_wheel_works_outside_of_a_checkout(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(installed)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    without = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    given = [part for setting in SMALL for part in ("--set", setting)]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(installed), *given],
        cwd=folder,
        env={**without, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(folder.rglob("report.html"))
