"""Every command in the README and in the pages for beginners is run, shortened where it is long."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

from core.tracking.mlflow_store import open_tracker
from experiments.cli import status
from tests.conftest import ROOT
from variants import registry

PAGES = [
    pytest.param("README.md", marks=pytest.mark.slow),
    pytest.param("docs/start.md", marks=pytest.mark.slow),
    "docs/howto/corpus.md",
    "docs/howto/strategy.md",
]
PROGRAM = ".venv/bin/textgan "
SMALL = ["train.updates=2", "corpus.sentences=1000", "train.batch_size=4", "evaluation.every=1",
         "evaluation.sentences=20", "evaluation.references=20",
         "evaluation.gradients=0"]  # fmt: skip
DEMO = ["study.seeds=1", "study.budget={updates=2}", 'study.systems=["log_ratio"]']
FEW = ["study.seeds=1", "study.systems=[]", "study.contrasts=[]", "study.likelihood=false",
       'study.axes.next_input=["noise"]', 'study.axes.noise_mapping=["full"]']  # fmt: skip


def commands(page: str) -> list[str]:
    """The commands in the page's blocks without a language, comments left out."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if page.endswith("strategy.md"):
        text = text.replace('--8<-- "README.md:strategy"', "")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    lines = [
        line.partition(" # ")[0].strip()
        for language, block in blocks
        if not language
        for line in block.splitlines()
    ]
    return [line for line in lines if line]


def shortened(arguments: list[str]) -> list[str]:
    """The same command on sizes that train in a blink, without processes of its own."""
    if arguments[0] == "run":
        return [*arguments, *overrides(SMALL)]
    if arguments[0] == "study" and "--dry-run" not in arguments:
        few = DEMO if arguments[1].endswith("demo.toml") else FEW
        return [*arguments, *overrides(SMALL + few), "--workers", "1"]
    return arguments


def overrides(settings: list[str]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that looks like the checkout, with a store and a text of its own, and the README's
    strategy installed.
    """
    folder = tmp_path / "checkout"
    folder.mkdir()
    for each in ("Makefile", "experiments", "pyproject.toml", "constraints.txt"):
        (folder / each).symlink_to(ROOT / each)
    rng = np.random.default_rng(0)
    words = ["river", "stone", "song", "finds", "keeps", "every", "the", "old", "road", "child"]
    lines = [" ".join(rng.choice(words, size=rng.integers(3, 9))) for _ in range(1200)]
    (folder / "my.txt").write_text("\n".join(lines) + "\n")
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert code is not None
    package = tmp_path / "packages"
    (package / "readme-1.dist-info").mkdir(parents=True)
    (package / "readme_strategy.py").write_text(code[1])
    (package / "readme-1.dist-info" / "METADATA").write_text("Name: readme\nVersion: 1\n")
    (package / "readme-1.dist-info" / "entry_points.txt").write_text(
        "[textgan.variants]\ntemperature.cosine = readme_strategy:Cosine\n"
    )
    monkeypatch.syspath_prepend(str(package))
    monkeypatch.chdir(folder)
    registry.cache_clear()
    yield folder
    registry.cache_clear()


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_runs(
    page: str,
    checkout: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("experiments.estimate.SECONDS", 0.05)
    monkeypatch.setattr("experiments.estimate.CALIBRATED", 1)
    elsewhere = commands("README.md") if page != "README.md" else []
    found = commands(page)
    assert found
    for command in found:
        if command in elsewhere:
            continue
        if command.startswith("make "):
            run_make(command, checkout)
            continue
        assert command.startswith(PROGRAM), f"{page}: {command}: not a command of ours"
        arguments = shortened(shlex.split(command.removeprefix(PROGRAM)))
        code = status(arguments)
        assert code == 0, f"{page}: {command}\n{capsys.readouterr().err}"


def run_make(command: str, folder: Path) -> None:
    """`make` on what is installed here; `test` is what runs this, so it is only planned."""
    target = command.split()[1]
    program = folder / "bin" / "textgan"
    program.parent.mkdir(exist_ok=True)
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from experiments.cli import main\nmain()\n"
    )
    program.chmod(0o755)
    begin = ["make", "--old-file", ".venv/.installed", f"BIN={program.parent}"]
    if target.startswith("test"):
        done = subprocess.run([*begin, "-n", target], capture_output=True, text=True, check=True)
        assert "pytest" in done.stdout
        assert "mypy" in done.stdout
    elif target == "ui":
        open_tracker()  # the README's demo has made a store by then
        serve([*begin, target])
    else:
        assert target == "demo", command
        given = [*overrides([*SMALL, *DEMO]), "--workers", "1"]  # there is one run
        short = " ".join(map(shlex.quote, given))
        done = subprocess.run(
            [*begin, target, f"ARGS={short}"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "log_ratio" in done.stdout
        assert "the variation between seeds is unknown" in done.stderr
        assert "http://127.0.0.1:5000/#/experiments/" in done.stderr


def serve(command: list[str]) -> None:
    """Start the UI, see it answer, end it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [*command, f"ARGS=--port {port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        end = time.monotonic() + 120
        while not answers(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None
            assert time.monotonic() < end
            time.sleep(0.25)
    finally:
        subprocess.run(["kill", "--", f"-{server.pid}"], check=True)
        server.wait(30)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_the_readmes_strategy_trains(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = overrides([*SMALL, "temperature.name=cosine", "temperature.lowest=0.5"])
    assert status(["run", "experiments/smoke/run.toml", *chosen]) == 0, capsys.readouterr().err


def test_textgan_is_the_command_line_run_here() -> None:
    (program,) = entry_points(group="console_scripts", name="textgan")
    assert program.value == "experiments.cli:main"
