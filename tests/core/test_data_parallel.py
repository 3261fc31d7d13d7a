"""Two processes of torchrun: equal weights, a loss that falls, a resume with another number."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from core.errors import InputError
from core.tracking.memory import MemoryTracker
from core.training import data_parallel
from core.training.checkpoint import read
from experiments import run
from tests.conftest import ROOT, tiny

# Each rank writes the weights it ends with; rank 0 its likelihood curve.
SCRIPT = """
import json, sys
from pathlib import Path
from core.tracking.memory import MemoryTracker
from core.training import data_parallel
from experiments.single_run import session
from experiments.single_run.run import run
from tests.conftest import tiny

folder, *overrides = sys.argv[1:]
config = tiny(*overrides)
losses = []
def report(step, _, values):
    if "train/generator_loss" in values:
        losses.append(values["train/generator_loss"])
end = session.Session._end
def keep(self, outcome, reason):
    state = self.state.players.trainable["generator"].module.state_dict()
    weights = {k: v.tolist() for k, v in state.items()}
    file = Path(folder) / f"rank_{data_parallel.rank()}.json"
    file.write_text(json.dumps([weights, losses, outcome, data_parallel.world_size()]))
    return end(self, outcome, reason)
session.Session._end = keep
tracker = MemoryTracker(Path(folder) / f"store_{data_parallel.rank()}")
run(config, tracker=tracker, report=report)
"""


End = tuple[dict[str, list[float]], list[float], str]  # weights, losses, outcome


def torchrun(folder: Path, *arguments: str) -> list[End]:
    """What each of two ranks ended with: weights, losses, outcome."""
    (temporary := folder / "temporary").mkdir(parents=True)
    script = folder / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
                   "TMPDIR": str(temporary)}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         str(script), str(folder), *arguments],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert not [*temporary.rglob("samples.*")], "the second rank records nothing"
    found = []
    for rank in range(2):
        weights, losses, outcome, size = json.loads((folder / f"rank_{rank}.json").read_text())
        assert size == 2
        found.append((weights, losses, outcome))
    return found


@pytest.mark.slow
def test_two_ranks_end_with_equal_weights_and_the_loss_falls(tmp_path: Path) -> None:
    """Likelihood first, then four adversarial updates."""
    settings = ("model.length=12", "train.updates=44", "train.log_every=1", "train.batch_size=16",
                "train.micro_batch=2", "train.ema=0.5", "evaluation.every=44",
                "sampling.name=straight_through_gumbel", "schedule.name=pretrain",
                "schedule.generator_updates=40", "schedule.generator_lr=2e-3")  # fmt: skip
    first, second = torchrun(tmp_path / "ranks", *settings)
    assert first[2] == second[2] != "diverged"
    assert first[0] == second[0], "weights differ between ranks"
    losses = first[1]
    assert len(losses) == 44
    assert sum(losses[35:40]) < 0.9 * sum(losses[:5])


def test_a_run_resumes_with_another_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process continues a checkpoint of two: its counters and weights are all that counts."""
    tracker = MemoryTracker(tmp_path)

    def die(step: int, _: int | None, values: object) -> None:
        if step == 4:
            raise KeyboardInterrupt

    config = tiny("train.updates=6", "train.checkpoint_every=2", "train.log_every=1",
                  "evaluation.gradients=2")  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        run(config, tracker=tracker, report=die)
    (killed,) = tracker.runs()
    saved = read(tmp_path / "runs" / killed.run_id / "checkpoint.safetensors")
    assert saved is not None
    # As the second of two ranks would: streams of its own, the same weights and counters.
    from experiments.loading import open_corpus
    from experiments.single_run.session import training_state

    corpus = open_corpus(config.corpus, tmp_path, config.model.length)
    ranks = []
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        state = training_state(config, corpus, torch.device("cpu"))
        state.restore(saved)
        ranks.append(state)
    monkeypatch.delenv("RANK")
    monkeypatch.delenv("WORLD_SIZE")
    assert [state.counters.update for state in ranks] == [saved.counters.update] * 2
    noise = [torch.rand(3, generator=state.streams["noise"]).tolist() for state in ranks]
    assert noise[0] != noise[1]
    assert run(None, tracker=tracker, resume=killed.run_id).updates == 6


def test_a_batch_that_cannot_be_divided_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_parallel, "world_size", lambda: 3)
    with pytest.raises(InputError, match=r"train\.batch_size = 8 must be a multiple of the 3"):
        data_parallel.local_batch_size(8)
