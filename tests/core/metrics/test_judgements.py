"""Judgements in processes of their own: the same bits, and no process is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from core.errors import MachineError
from core.metrics import judgements
from core.metrics.comparison import compare
from core.metrics.files import Inputs, evaluate
from core.metrics.judge import NETWORK_FROM, judged
from core.metrics.judgements import Judgements, in_processes
from core.process import environment
from core.text.grammar import grammar

Text = list[list[str]]
EASY = grammar("easy")


class Likelihood:
    """As if it had been trained."""

    def __init__(self, text: Text) -> None:
        self.text = text

    def __call__(self) -> Text:
        return self.text

    def about(self) -> str:
        return "a model"


def test_rows_judged_in_processes_have_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judgements, "LEAST", 100)
    monkeypatch.setattr(judgements, "usable_cores", lambda: 2)
    samples, other, references, held_out, training, drawn = (
        EASY.sample(110, seed) for seed in range(6)
    )
    inputs = Inputs(samples, references, held_out, training, Likelihood(drawn), oracle=EASY)
    files = {"a": samples, "b": other}
    groups = ["jsd_bound", "unique"]
    here = compare(inputs, files, groups)
    steps: list[tuple[float, float]] = []
    monkeypatch.setattr("core.metrics.judge.judged", None)  # none is computed in this process
    with in_processes(tmp_path) as pool:
        there = compare(
            replace(inputs, judgements=pool), files, groups,
            lambda _, done, total: steps.append((done, total)),
        )  # fmt: skip
        processes = [psutil.Process(pid) for pid in pool._processes]
    assert there.model_dump_json() == here.model_dump_json()
    assert all(
        row is not None for name, row in there.files["a"].baselines.items() if name != "ngram"
    )
    assert steps == sorted(steps)
    assert len(processes) == 2
    psutil.wait_procs(processes, timeout=10)
    assert not any(process.is_running() for process in processes)
    assert len(list(tmp_path.iterdir())) == 5, "one for each baseline"
    kept = Judgements(1, tmp_path)
    assert kept.start(held_out, references, EASY, keep=True) is not None
    rows = evaluate(replace(inputs, judgements=kept, samples=held_out), groups)
    assert rows.baselines == here.files["a"].baselines
    assert rows.metrics["jsd_bound"].value == here.files["a"].baselines["real"]["jsd_bound"]
    with pytest.raises(TypeError):  # other references: nothing is kept, and nothing can judge here
        evaluate(replace(inputs, judgements=kept, references=other), groups)


@pytest.mark.slow
def test_the_network_in_another_process_has_the_same_bits() -> None:
    samples, references = EASY.sample(NETWORK_FROM, 1), EASY.sample(NETWORK_FROM, 2)
    pool = Judgements(2)
    started = pool.start(samples, references, None, keep=False)
    assert started is not None
    here, there = judged(samples, references), started()
    assert all(map(np.array_equal, here, there))
    pool.kill()


def test_one_core_has_no_further_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judgements, "LEAST", 100)
    monkeypatch.setattr(judgements, "usable_cores", lambda: 1)
    text, references = EASY.sample(110, 1), EASY.sample(110, 2)
    with in_processes(None) as here:
        started = here.start(text, references, None, keep=True)
        assert started is not None
        assert np.array_equal(started()[0], judged(text, references)[0])
        assert not here._processes


def test_one_row_and_small_texts_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Judgements(2)
    small = EASY.sample(120, 1)
    evaluate(Inputs(small, small[:110], judgements=pool), ["jsd_bound"])
    monkeypatch.setattr(judgements, "LEAST", 100)
    pool = Judgements(2)
    evaluate(Inputs(small, small[:110], baselines=False, judgements=pool), ["jsd_bound"])
    assert not pool._processes


def test_a_process_that_is_killed_is_an_error_in_words() -> None:
    pool = Judgements(2)
    text = EASY.sample(judgements.LEAST, 1)
    started = pool.start(text, text, None, keep=False)
    assert started is not None
    pool.kill()
    with pytest.raises(MachineError, match="perhaps for lack of memory"):
        started()


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_command(tmp_path: Path, end: signal.Signals) -> None:
    """Ctrl-C is heard by all processes of a terminal, other signals by the command alone."""
    for seed, name in enumerate(("samples", "references")):
        lines = [" ".join(words) for words in EASY.sample(2000, seed)]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [
        sys.executable, "-P", "-m", "experiments", "evaluate", "samples.txt", "--references",
        "references.txt", "--metrics", "jsd_bound", "--json",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, text=True,
    )  # fmt: skip
    try:
        children: list[psutil.Process] = []
        while sum("spawn_main" in " ".join(each.cmdline()) for each in children) < 2:
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
            children = psutil.Process(process.pid).children()
        if end is signal.SIGINT:
            os.killpg(process.pid, end)
        else:
            process.send_signal(end)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert out == ""
    if end is not signal.SIGKILL:
        assert (process.returncode, err) == (130, "textgan: interrupted\n")
    assert not psutil.wait_procs(children, timeout=10)[1]
