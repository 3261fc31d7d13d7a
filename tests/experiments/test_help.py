"""Help, version and completion of the command line."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from experiments.cli import status
from tests.conftest import ROOT
from tests.experiments.test_cli import textgan


@pytest.mark.parametrize(
    "command",
    ["", "run", "study", "report", "worker", "sample", "evaluate", "corpus", "corpus build",
     "corpus show", "corpus fetch", "metrics", "metrics try", "variants", "runs", "runs list",
     "ui", "doctor", "sync", "watch"],
)  # fmt: skip
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = textgan(*command.split(), "--help", capsys=capsys)
    assert code == 0
    assert "Usage" in out
    assert "<bool>" not in out, "the type of a flag"
    if command not in ("", "corpus"):
        assert "Examples" in out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("textgan st", "study"),
        ("textgan run ml", "mle"),
        ("textgan run fil", "file.toml"),
        ("textgan variants samp", "sampling"),
        ("textgan corpus fetch capt", "captions"),
        ("textgan run --dev", "--device"),
    ],
)
def test_the_shell_completes(
    typed: str,
    offered: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("file.toml").touch()
    monkeypatch.setattr(sys, "argv", ["textgan"])
    monkeypatch.setenv("_TEXTGAN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    with contextlib.suppress(SystemExit):
        status()
    assert offered in capsys.readouterr().out.split()


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = textgan("--version", capsys=capsys)
    assert (code, out) == (0, f"textgan {version('textgan-lab')}\n")


def test_paragraphs_of_help_fill_the_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = textgan("watch", "--help", capsys=capsys)
    assert "and the time left, until the study ends." in out
    _, out, _ = textgan("--help", capsys=capsys)
    assert "optimiser moments, random streams, order of the data." in out


def test_help_is_quick_and_debug_shows_the_traceback(tmp_path: Path) -> None:
    script = (
        "import sys, experiments.cli; print([m for m in ('torch', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]", "the command line must not import what only commands need"
    debug = subprocess.run(
        [sys.executable, "-m", "experiments", "run", "nothing"],
        cwd=tmp_path,
        env={**os.environ, "TEXTGAN_DEBUG": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" in debug.stderr
