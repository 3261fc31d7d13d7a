"""An interrupt ends a run between two updates, saved; the second one ends it at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from core.config import Config
from core.process import environment, hear_interrupts
from core.tracking.memory import MemoryTracker
from core.tracking.mlflow_store import open_tracker
from core.training import checkpoint
from experiments.cli import main
from experiments.single_run.run import run
from tests.conftest import ROOT, tiny

SMOKE = ROOT / "experiments" / "smoke" / "design_axes.toml"


FIVE = ("train.updates=5", "train.log_every=1", "evaluation.every=1")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, float | None]:
    """The metrics of a run that nothing interrupts."""
    return run(tiny(*FIVE), tracker=MemoryTracker(tmp_path_factory.mktemp("whole"))).metrics


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on_as_if_never_stopped(
    number: signal.Signals, tmp_path: Path, expected: Mapping[str, float | None]
) -> None:
    tracker = MemoryTracker(tmp_path)

    def interrupt(step: int, _: int | None, values: object) -> None:
        if step == 3 and "train/generator_loss" in values:  # type: ignore[operator]
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt):
        run(tiny(*FIVE), tracker=tracker, report=interrupt)
    (record,) = tracker.runs()
    assert (record.outcome, record.status) == ("killed", "KILLED")
    kept = checkpoint.read(tmp_path / "runs" / record.run_id / "checkpoint.safetensors")
    assert kept is not None
    assert kept.counters.update == 3
    assert 3 in dict(tracker.history(record.run_id, "eval/unique")), "the update was completed"
    assert run(None, tracker=tracker, resume=record.run_id).metrics == expected


def test_the_second_interrupt_does_not_wait(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)

    def interrupt(step: int, _: int | None, __: object) -> None:
        if step == 1:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(tiny("train.log_every=1"), tracker=tracker, report=interrupt)
    (record,) = tracker.runs()
    assert record.outcome == "killed"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class Freed:
    """As an object that is freed, or a lock of the import system, when a signal comes."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The signals are handled as in a command."""
    monkeypatch.setattr("core.process._interrupts", [])
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    hear_interrupts()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("heard")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_drops_before_a_run_ends_it(tmp_path: Path) -> None:
    Freed()
    tracker = MemoryTracker(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(tiny(), tracker=tracker)
    (record,) = tracker.runs()
    assert record.outcome == "killed"
    assert not tracker.history(record.run_id, "eval/unique"), "nothing was computed"
    assert signal.getsignal(signal.SIGINT) is signal.getsignal(signal.SIGTERM)


@pytest.mark.usefixtures("heard")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_drops_at_the_start_of_a_command_ends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(*_: object) -> Config:
        Freed()
        return tiny()

    monkeypatch.setattr("experiments.loading.load", load)
    with pytest.raises(SystemExit) as ended:
        main(["run", "mle"])
    assert ended.value.code == 130
    assert capsys.readouterr().err.endswith("textgan: interrupted\n")
    assert not [*Path().glob("mlruns/runs/*")], "no run has begun"


@pytest.mark.slow
def test_workers_of_a_study_that_is_terminated_end_with_it(tmp_path: Path) -> None:
    """As in the background of a script, where SIGINT is not heard."""
    command = [
        sys.executable, "-P", "-m", "experiments", "study", str(SMOKE), "--workers", "2",
        "--set", "train.updates=100000", "--set", "train.checkpoint_every=5",
        "--set", "train.batch_size=4", "--set", "model.length=8", "--set", "corpus.sentences=300",
        "--set", "corpus.difficulty=easy", "--set", "evaluation.every=100000",
        "--set", "evaluation.sentences=20", "--set", "evaluation.references=20",
        "--set", "evaluation.gradients=0",
    ]  # fmt: skip
    deaf = {**environment(), "OMP_NUM_THREADS": "1"}
    study = subprocess.Popen(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command],
        cwd=tmp_path, env=deaf, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        while len(list(tmp_path.glob("mlruns/runs/*/checkpoint.safetensors"))) < 2:
            assert study.poll() is None, study.communicate()[0]
            time.sleep(0.2)
        workers = Path(f"/proc/{study.pid}/task/{study.pid}/children").read_text().split()
        assert len(workers) == 2
        study.send_signal(signal.SIGTERM)
        said = study.communicate(timeout=60)[0].decode()
    finally:
        study.kill()
    assert study.returncode == 130
    assert "--resume" in said
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    records = open_tracker(f"sqlite:///{tmp_path}/mlruns/mlflow.db").runs(tags={"level": "seed"})
    assert {record.outcome for record in records} == {"killed"}


def test_an_interrupt_in_compiled_code_ends_with_its_exit_status(tmp_path: Path) -> None:
    """Python 3.11 remembers it, and `python -m` would end with a signal instead of the status."""
    (tmp_path / "command.py").write_text(
        "from contextlib import suppress\n"
        "from experiments import cli\n"
        "def status(arguments):\n"
        "    with suppress(KeyboardInterrupt):\n"
        "        exec('raise KeyboardInterrupt')\n"
        "    return 130\n"
        "cli.status = status\n"
        "cli.main()\n"
    )
    command = [sys.executable, "-m", "command"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), check=False)
    assert done.returncode == 130
