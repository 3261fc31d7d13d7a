"""N processes with equal shares of a batch come to what one process comes to."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from core.batches import Batches
from core.config import Config
from core.errors import InputError
from core.players import build
from core.sentences import Noise
from core.shares import Share, joined
from core.tracking.mlflow_store import open_tracker
from core.train import Trainer
from experiments.parts import open_corpus
from experiments.runner import run
from experiments.sharing import check_shareable
from tests.chaos.children import Ended, begin
from tests.chaos.servers import free_port
from tests.conftest import tiny
from variants import registry

CPU = torch.device("cpu")
COMMON = ("train.batch_size=8", "train.micro_batch=2", "train.updates=3", "model.length=6",
          "generator.width=8", "generator.heads=2", "generator.hidden=8", "discriminator.width=8",
          "discriminator.heads=2", "discriminator.hidden=8", "schedule.n_d=2", "train.log_every=1",
          )  # fmt: skip
# Every estimator that reads the whole batch, every penalty, and what else looks over a batch.
CASES = {
    "pathwise, gradient penalty": ("train.ema=0.9", "train.clip=0.5"),
    "moving baseline, R1, hinge": (
        "sampling.name=categorical", "estimator.name=reinforce", "penalty.name=r1",
        "objective.name=hinge", "model.mask_after_eos=true", "train.entropy=0.01",
    ),
    "leave one out, R2, relativistic": (
        "sampling.name=categorical", "estimator.name=leave_one_out", "penalty.name=r2",
        "objective.name=relativistic", "train.reuse_fakes=true",
    ),
    "weights over the batch, R1 and R2": (
        "sampling.name=categorical", "estimator.name=maligan", "penalty.name=r1_r2",
        "objective.name=minimax", "train.curriculum_start=3",
    ),
    "Monte-Carlo rollouts": (
        "sampling.name=categorical", "estimator.name=rollout", "penalty.name=none",
        "objective.name=minimax", "estimator.completions=2",
    ),
}  # fmt: skip


def trained(config: Config, folder: Path) -> dict[str, Any]:
    """The state of a run at its end, as lists, and its losses."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    try:
        with joined(cuda=False) as share:
            corpus = open_corpus(config.corpus, folder, config.model.length)
            length = config.model.length
            batches = Batches(corpus.train, config.train.batch_size, length, config.seed, share)
            players = build(config, registry(), len(corpus.vocabulary), CPU)
            losses: list[float] = []

            def log(values: Any, _: int) -> None:
                losses.extend(values[key] for key in sorted(values) if "second" not in key)

            trainer = Trainer(config, players, batches, CPU, log, share)
            trainer.train(lambda: None, lambda: None)
            state = {key: value.tolist() for key, value in trainer.state().items()}
            return {"losses": losses, "state": state}
    finally:
        torch.set_default_dtype(torch.float32)


def shared(config: Config, folder: Path) -> list[dict[str, Any]]:
    """The same by two processes."""
    return [end.answer for end in in_two(folder, partial(trained, config, folder))]


def _place(folder: Path, rank: int) -> Path:
    place = folder / f"rank-{rank}"
    place.mkdir(exist_ok=True)
    return place


@pytest.mark.parametrize("case", CASES)
def test_two_processes_come_to_what_one_comes_to(case: str, tmp_path: Path) -> None:
    config = tiny(*COMMON, *CASES[case])
    alone = trained(config, tmp_path)
    first, second = shared(config, tmp_path)
    assert first["state"] == second["state"], "bit for bit"
    assert first["losses"] == pytest.approx(alone["losses"], abs=1e-8)
    for key, value in alone["state"].items():
        ours = torch.tensor(first["state"][key])
        torch.testing.assert_close(ours, torch.tensor(value), rtol=0, atol=1e-8, msg=key)


RUN = ("train.checkpoint_every=1", "evaluation.every=2", "train.updates=4",
       "evaluation.gradients=2")  # fmt: skip


def test_the_first_alone_writes_and_another_number_goes_on(tmp_path: Path) -> None:
    config = tiny(*COMMON, *RUN)
    undisturbed = run(config, tracker=open_tracker(f"sqlite:///{tmp_path}/alone/mlflow.db"))
    uri = f"sqlite:///{tmp_path}/shared/mlflow.db"
    tracker = open_tracker(uri)
    tracker.experiments()
    began = in_two(tmp_path, partial(_until_update_2, config, uri))
    assert [end.words for end in began] == ["KeyboardInterrupt: "] * 2
    (record,) = tracker.runs("runs")
    assert (record.outcome, record.tags["processes"]) == ("killed", "2")
    result = run(None, tracker=tracker, resume=record.run_id)
    assert result.outcome == undisturbed.outcome
    for key, value in undisturbed.metrics.items():
        assert result.metrics[key] == pytest.approx(value, abs=1e-4), key
    again = [end.answer for end in in_two(tmp_path, partial(_again, uri, record.run_id))]
    assert again == [record.run_id] * 2
    assert len(tracker.runs("runs")) == 1


def in_two(folder: Path, act: Callable[[], Any]) -> list[Ended]:
    """`act` in each of two processes that belong together."""
    port = free_port()
    waits = [begin(partial(_ranked, rank, port, act), _place(folder, rank)) for rank in range(2)]
    return [wait() for wait in waits]


def _ranked(rank: int, port: int, act: Callable[[], Any]) -> Any:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # fmt: skip
    return act()


def _until_update_2(config: Config, uri: str) -> None:
    def stop(step: int, *_: object) -> None:
        if step == 3:
            raise KeyboardInterrupt

    run(config, tracker=open_tracker(uri), report=stop)


def _again(uri: str, run_id: str) -> str:
    return run(None, tracker=open_tracker(uri), resume=run_id).run_id


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("train.micro_batch=8",), "a multiple of 2 (now 8 / 8); set train.micro_batch to 4"),
        (("train.instance_noise=0.1",), "train.instance_noise"),
        (("generator.attention=full",), "attention = 'full'"),
        (
            (
                "discriminator.name=cnn",
                "discriminator.dropout=0",
                "discriminator.spectral_norm=true",
            ),
            "spectral_norm",
        ),
        (("discriminator.name=cnn",), "discriminator.dropout"),
        (("generator.name=lstm", "generator.dropout=0.1"), "generator.dropout"),
    ],
)
def test_what_cannot_be_shared_is_said(settings: tuple[str, ...], words: str) -> None:
    with pytest.raises(InputError) as caught:
        check_shareable(tiny(*COMMON, *settings), Share(0, 2))
    assert words in str(caught.value)


def test_rows_come_back_in_their_order() -> None:
    """Two batches of four rows, one behind the other, in two shares."""
    whole = torch.arange(8)
    assert Share(0, 2).rows(whole, 2).tolist() == [0, 1, 4, 5]
    assert Share(1, 2).rows(whole, 2).tolist() == [2, 3, 6, 7]
    assert Share(1, 2).seeds((1, 2, 3, 4), 2) == (2, 4)
    noise = Noise(whole.view(8, 1), None, whole.view(1, 1, 8, 1, 1), seed=0, count=8)
    ours = Share(1, 2).of_noise(noise, 2)
    assert ours.latent is not None
    assert ours.injected is not None
    assert (ours.latent.flatten().tolist(), ours.count) == ([2, 3, 6, 7], 4)
    assert ours.injected.flatten().tolist() == [2, 3, 6, 7]
