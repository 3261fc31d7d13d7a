"""A fork: what it takes over from its parent, what starts fresh, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from core.config import Config
from core.errors import InputError, MachineError
from core.tracking.memory import MemoryTracker
from core.tracking.mlflow_store import open_tracker
from core.training import checkpoint
from core.training.checkpoint import Checkpoint
from experiments.loading import load
from experiments.reproduce import reproduce
from experiments.single_run.checkpoints import by_update
from experiments.single_run.fork import forked
from experiments.single_run.run import find, run
from experiments.single_run.session import Result
from tests.conftest import tiny
from tests.experiments.test_cli import textgan

# A run that remembers much: moments, averaged weights, a moving baseline, dropout, earlier samples.
GAME = ("discriminator.name=lstm_last", "discriminator.width=8", "discriminator.hidden=8",
        "discriminator.dropout=0.2", "estimator.name=reinforce", "objective.name=non_saturating",
        "penalty.name=none")  # fmt: skip
KEPT = ("train.updates=6", "train.checkpoint_every=2", "train.keep_every=2", "train.log_every=1",
        "train.beta1=0.5")  # fmt: skip
WHOLE = (*GAME, *KEPT, "sampling.name=categorical", "evaluation.every=2", "train.ema=0.5",
         "train.replay=8", "train.lr_decay=0.1")  # fmt: skip


def likelihood(*overrides: str) -> Config:
    """A language model, which has no discriminator."""
    small = ["model.length=8", "train.batch_size=4", "evaluation.every=100",
             "evaluation.sentences=20", "evaluation.references=20", "corpus.difficulty=easy",
             "corpus.sentences=300", "generator.width=8", "generator.hidden=8", *KEPT]  # fmt: skip
    return load("mle", [*small, *overrides])


def fork(tracker: MemoryTracker, parent: Result, at: int | None, *overrides: str) -> Result:
    return run(forked(*find(tracker, parent.run_id), at, overrides), tracker=tracker)


def last(tracker: MemoryTracker, result: Result) -> Checkpoint:
    saved = checkpoint.read(tracker.store_dir / "runs" / result.run_id / "checkpoint.safetensors")
    assert saved is not None
    return saved


def start(tracker: MemoryTracker, parent: Result, at: int, *overrides: str) -> Checkpoint:
    """The first checkpoint of a fork, which is killed before its first update."""

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with pytest.raises(Killed):
        run(forked(*find(tracker, parent.run_id), at, overrides), tracker=tracker, report=die)
    result = Result(tracker.runs()[-1].run_id, "killed", at, 0.0, {})
    return last(tracker, result)


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []


def test_a_fork_without_a_change_continues_its_parent_bit_for_bit(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    parent = run(tiny(*WHOLE), tracker=tracker)
    child = fork(tracker, parent, 2)
    assert child.run_id != parent.run_id
    assert (child.metrics, child.updates) == (parent.metrics, 6)
    ours, theirs = (last(tracker, each) for each in (child, parent))
    assert_same(ours.tensors, theirs.tensors)
    assert ours.counters.samples == theirs.counters.samples
    assert ours.counters.batches == theirs.counters.batches
    for metric in ("train/generator_loss", "train/discriminator_loss", "eval/unique"):
        whole = tracker.history(parent.run_id, metric)
        assert tracker.history(child.run_id, metric) == [each for each in whole if each[0] > 2]
    record = tracker.run(child.run_id)
    assert record.tags["forked_from"] == record.params["fork.run"] == parent.run_id
    assert record.params["fork.at"] == "2"
    assert record.name.endswith(f"fork of {parent.run_id[:8]} at 2")
    said = record.tags["mlflow.note.content"]
    assert f"Forked from run `{parent.run_id}` at update 2." in said
    assert record.metrics["real/unique"] == tracker.run(parent.run_id).metrics["real/unique"]
    assert record.tags["signature"] == tracker.run(parent.run_id).tags["signature"]
    again = reproduce(tracker, child.run_id)
    assert (again.verdict, again.differs) == ("identical", {})
    assert fork(tracker, child, 4).metrics == parent.metrics, "a fork of a fork"


def test_a_fork_that_is_killed_twice_ends_as_if_never_killed(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    parent = run(tiny(*WHOLE), tracker=tracker)
    theirs = last(tracker, parent)

    class Killed(BaseException):
        pass

    def until(update: int) -> Any:
        def die(step: int, _: int | None, values: object) -> None:
            if step == update and "train/generator_loss" in values:  # type: ignore[operator]
                raise Killed

        return die

    with pytest.raises(Killed):  # it has no checkpoint of its own
        run(forked(*find(tracker, parent.run_id), 2, []), tracker=tracker, report=until(3))
    child = tracker.runs()[-1].run_id
    shutil.rmtree(tmp_path / "runs" / parent.run_id)
    for key in ("corpus.source", "fork.at"):  # it died before it was recorded whole
        del tracker._runs[child].params[key]
    with pytest.raises(Killed):
        run(None, tracker=tracker, resume=child, report=until(5))
    result = run(None, tracker=tracker, resume=child)
    assert result.metrics == parent.metrics
    assert_same(last(tracker, result).tensors, theirs.tensors)
    assert tracker.run(child).params["fork.at"] == "2"


def test_what_the_parent_lacks_starts_from_the_seed_of_the_fork(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    parent = run(likelihood(), tracker=tracker)
    kept = checkpoint.read(by_update(tmp_path / "runs" / parent.run_id)[2])
    assert kept is not None
    game = ("schedule.name=adversarial", *GAME, "train.ema=0.9")
    child = start(tracker, parent, 2, *game)
    assert_same(child.group("weights.generator"), kept.group("weights.generator"))
    assert_same(child.group("weights.averaged"), kept.group("weights.generator"))
    assert_same(child.group("optimiser.generator"), kept.group("optimiser.generator"))
    assert child.group("optimiser.discriminator") == {}
    assert child.counters.update == 2
    assert child.counters.pretraining[0] == 2, "likelihood was its pretraining"
    assert child.counters.batches == kept.counters.batches

    D = child.group("weights.discriminator")
    assert_same(start(tracker, parent, 4, *game).group("weights.discriminator"), D)
    other = start(tracker, parent, 2, *game, "seed=1", "fork.generator_moments=false")
    assert not torch.equal(other.group("weights.discriminator")["out.weight"], D["out.weight"])
    assert other.group("optimiser.generator") == {}
    assert other.group("random") == {}, "its random streams begin anew"
    assert_same(other.group("weights.generator"), kept.group("weights.generator"))


def test_moments_go_to_their_weights_in_whatever_order_the_optimiser_has_them(
    tmp_path: Path,
) -> None:
    """A weight decay of the last layer alone makes groups, in whose order moments are saved."""
    tracker = MemoryTracker(tmp_path)
    cnn = ("discriminator.name=cnn", "discriminator.width=8", "discriminator.kernels=[1,2]",
           "discriminator.filters=[4,4]", "train.updates=2")  # fmt: skip
    parent = run(tiny(*WHOLE, *cnn), tracker=tracker)
    kept = last(tracker, parent)
    child = start(tracker, parent, 2, "train.updates=4", "discriminator.output_decay=0.2")

    def sizes(saved: Checkpoint) -> list[tuple[int, ...]]:
        moments = saved.group("optimiser.discriminator")
        return sorted(tuple(moments[key].shape) for key in moments if key.endswith("exp_avg"))

    assert sizes(child) == sizes(kept)
    assert (
        fork(tracker, parent, 2, "train.updates=3", "discriminator.output_decay=0.2").updates == 3
    )


def test_a_budget_may_count_from_the_fork(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    parent = run(likelihood(), tracker=tracker)
    child = fork(tracker, parent, 4, "train.updates=3", "fork.count_from=fork")
    assert child.updates == 3
    steps = [step for step, _ in tracker.history(child.run_id, "eval/unique")]
    assert steps == [0, 3], "the state of the parent is its first evaluation"
    assert last(tracker, child).counters.batches == 7


@pytest.mark.parametrize(
    ("at", "overrides", "said"),
    [
        (3, (), "no checkpoint of update 3; kept are: 2, 4, 6"),
        (
            2,
            ("generator.hidden=16",),
            "the generator has another shape than in run .*there, .*here",
        ),
        (2, ("discriminator.width=4",), "the discriminator has another shape than in run"),
        (
            2,
            ("corpus.sentences=200",),
            r"\[corpus\] or model.length differs from that of run .*; a fork keeps both",
        ),
        (2, ("model.length=9",), "model.length differs from that of run"),
        (None, (), "has spent the budget at update 6.*raise train.updates"),
        (-1, (), "fork.at = -1: must be 0 or more"),
        (2, ("fork.moments=false",), "fork.moments: unknown key"),
    ],
)
def test_what_cannot_be_forked_is_refused_before_anything_runs(
    at: int | None, overrides: tuple[str, ...], said: str, parent: tuple[MemoryTracker, Result]
) -> None:
    tracker, result = parent
    before, files = len(tracker.runs()), sorted((tracker.store_dir / "runs").iterdir())
    with pytest.raises(InputError, match=said):
        fork(tracker, result, at, *overrides)
    assert len(tracker.runs()) == before
    assert sorted((tracker.store_dir / "runs").iterdir()) == files


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> tuple[MemoryTracker, Result]:
    tracker = MemoryTracker(tmp_path_factory.mktemp("parent"))
    return tracker, run(tiny(*WHOLE), tracker=tracker)


def test_a_run_without_files_or_with_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    study = tracker.start_run("s", "a study", params={}, tags={})
    with pytest.raises(InputError, match="its files are not here"):
        forked(*find(tracker, study.run_id), None, [])
    parent = run(likelihood(), tracker=tracker)
    folder = tmp_path / "runs" / parent.run_id
    saved = last(tracker, parent)
    del saved.tensors["weights.generator.head.bias"]
    for file in (folder / "checkpoint.safetensors", folder / "kept" / "6.safetensors"):
        checkpoint.write(file, saved.tensors, saved.counters)
    with pytest.raises(MachineError, match=r"does not fit.*it cannot be forked"):
        fork(tracker, parent, 6, "train.updates=8")


def test_the_command_prints_the_document_of_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = run(likelihood(), tracker=open_tracker())
    code, out, _ = textgan("fork", parent.run_id[:8], "--at", "4", "--set", "seed=1", "--json",
                           capsys=capsys)  # fmt: skip
    document = json.loads(out)
    assert code == 0
    assert document.keys() == parent.document().keys()
    assert document["updates"] == 6
    (row,) = json.loads(textgan("runs", "--filter", f"forked_from = {parent.run_id}", "--json",
                                capsys=capsys)[1])  # fmt: skip
    assert (row["run_id"], row["fork.at"]) == (document["run_id"], "4")
    code, _, err = textgan("fork", parent.run_id, "--at", "5", capsys=capsys)
    assert code == 2
    assert "no checkpoint of update 5; kept are: 2, 4, 6" in err
