"""The likelihood baseline of an evaluation: trained once, by a process that does not outlive it."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.errors import InputError
from core.metrics.files import Inputs
from experiments import baselines, evaluation, mle_training
from experiments.baselines import FEWEST, MODEL, MleBaseline, mle_baseline, sentences_of

TEXT = [["a", "b"]] * FEWEST


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that trains only sleeps."""
    monkeypatch.setattr(baselines.process, "command", lambda *_: ["sleep", "60"])


@pytest.mark.usefixtures("sleeps")
def test_a_training_text_that_is_read_stays_whole(tmp_path: Path) -> None:
    first = MleBaseline(TEXT, 5, tmp_path)
    file = first._folder / "train.txt"
    whole = file.read_text()
    file.write_text("as it was\n")
    with file.open() as reader:
        second = MleBaseline(TEXT, 6, tmp_path)
        assert reader.read() == "as it was\n", "it was written over"
    assert file.read_text() == whole == "a b\n" * FEWEST
    first.stop()
    second.stop()


def test_one_process_trains_and_the_others_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []

    def train(folder: Path, updates: int) -> None:
        trained.append(updates)
        time.sleep(0.05)
        for name in MODEL:
            (folder / name).touch()

    drawn = SimpleNamespace(tokens=lambda count, *_: [["a"]] * count)
    monkeypatch.setattr(mle_training, "train", train)
    monkeypatch.setattr(mle_training, "load_generator", lambda _: drawn)
    counts = (3, 3, 4)
    threads = [
        threading.Thread(target=mle_training.write, args=(tmp_path, 7, count)) for count in counts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trained == [7]
    for count in counts:
        assert sentences_of(tmp_path, count).read_text() == "a\n" * count


def test_nothing_trains_for_inputs_that_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "text.txt"
    file.write_text("a b\n" * FEWEST)
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: started.append(1))
    files = evaluation.Files([file], file, None, file, None)

    def no_encoder(name: str) -> None:
        raise InputError(f"{name}: cannot be loaded")

    monkeypatch.setattr(evaluation, "SentenceTransformer", no_encoder)
    for oracle, encoder in (("grammar:none", "word_order"), (None, "no/model")):
        with pytest.raises(InputError):
            evaluation.read_inputs(files, files.read_samples(), oracle, encoder, None)
    assert not started


@pytest.mark.usefixtures("sleeps")
def test_an_error_ends_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mle = mle_baseline(TEXT, 5, tmp_path)
    assert mle is not None
    training = mle._process
    assert training is not None
    assert training.poll() is None

    def fails(*_: Sequence[object]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "evaluate", fails)
    with pytest.raises(KeyboardInterrupt):
        evaluation.score(Inputs(TEXT, TEXT, mle=mle), {"a": TEXT}, [])
    assert training.poll() is not None
