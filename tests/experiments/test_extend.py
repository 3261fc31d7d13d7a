"""A finished run that goes further equals one that had the larger budget from its start."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from core.config import Config, parse
from core.config.renamed import HASH_TAG
from core.errors import InputError
from core.tracking.memory import MemoryTracker
from core.tracking.mlflow_store import open_tracker
from experiments.loading import load
from experiments.reproduce import reproduce
from experiments.single_run.extend import _of_budget, extended
from experiments.single_run.run import find, run
from experiments.single_run.session import Result
from tests.conftest import tiny
from tests.experiments.test_cli import textgan
from tests.experiments.test_fork import GAME, assert_same, last
from variants import registry

FOUR = (*GAME, "train.updates=4", "train.beta1=0.5", "train.log_every=1", "train.ema=0.5",
        "train.replay=8", "sampling.name=categorical", "evaluation.keep_best=eval/unique",
        "evaluation.selection=['best', 'last']")  # fmt: skip
EIGHT = "train.updates=8"


def further(tracker: MemoryTracker, result: Result, *overrides: str) -> Result:
    run_id, folder = find(tracker, result.run_id)
    return run(extended(run_id, folder, overrides), tracker=tracker, resume=run_id)


def test_a_run_that_goes_further_equals_a_longer_one_bit_for_bit(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    ours = further(tracker, run(tiny(*FOUR), tracker=tracker), EIGHT)
    theirs = run(tiny(*FOUR, EIGHT), tracker=tracker)
    assert (ours.metrics, ours.updates, ours.outcome) == (theirs.metrics, 8, "ok")
    one, other = (last(tracker, each) for each in (ours, theirs))
    assert_same(one.tensors, other.tensors)
    assert replace(one.counters, seconds=0, evaluating=0) == replace(
        other.counters, seconds=0, evaluating=0
    )
    for metric in ("train/generator_loss", "train/discriminator_loss", "eval/unique"):
        assert tracker.history(ours.run_id, metric) == tracker.history(theirs.run_id, metric)
    mine, longer = (tracker.run(each.run_id) for each in (ours, theirs))
    assert mine.params == longer.params
    assert mine.tags[HASH_TAG] == longer.tags[HASH_TAG]
    assert "updates = 8" in tracker.artifact(ours.run_id, "config.toml").read_text()
    assert further(tracker, ours, EIGHT) == ours, "the same budget: the result again"


def test_an_extension_that_is_killed_continues(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    first = run(tiny(*FOUR), tracker=tracker)

    class Killed(BaseException):
        pass

    def die(step: int, *_: object) -> None:
        if step == 6:
            raise Killed

    run_id, folder = find(tracker, first.run_id)
    with pytest.raises(Killed):
        run(extended(run_id, folder, [EIGHT]), tracker=tracker, resume=run_id, report=die)
    assert not (folder / "result.json").exists()
    assert run(None, tracker=tracker, resume=run_id).updates == 8
    assert tracker.run(run_id).outcome == "ok"


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[MemoryTracker, Result]:
    tracker = MemoryTracker(tmp_path_factory.mktemp("ended"))
    return tracker, run(tiny("train.updates=1", "evaluation.gradients=0"), tracker=tracker)


def test_only_the_budget_can_be_changed(ended: tuple[MemoryTracker, Result]) -> None:
    with pytest.raises(InputError, match=r"--resume: seed, train\.beta1 cannot be changed, only"):
        further(*ended, "train.beta1=0.9", "seed=7", EIGHT)
    with pytest.raises(InputError, match=r"^--set train\.updatez=3: train\.updatez: unknown key"):
        further(*ended, "train.updatez=3")
    with pytest.raises(InputError, match=r"has spent this budget \(1 update in"):
        further(*ended, "train.updates=0")
    with pytest.raises(InputError, match="has spent this budget"):
        further(*ended, "train.minutes=5")


def test_a_run_that_its_budget_did_not_end_is_refused(
    ended: tuple[MemoryTracker, Result], tmp_path: Path
) -> None:
    tracker, result = ended
    folder = tracker.store_dir / "runs" / result.run_id
    file, checkpoint = folder / "result.json", folder / "checkpoint.safetensors"
    whole = file.read_text()
    file.write_text(json.dumps({**json.loads(whole), "outcome": "collapsed", "reason": "x"}))
    with pytest.raises(InputError, match=r"did not end by its budget \(collapsed, x\)"):
        further(tracker, result, EIGHT)
    file.write_text(whole)
    checkpoint.rename(tmp_path / "away")
    with pytest.raises(InputError, match="its last checkpoint is gone"):
        further(tracker, result, EIGHT)
    (tmp_path / "away").rename(checkpoint)
    record = tracker._runs[result.run_id]
    record.tags["study"] = "s"
    with pytest.raises(InputError, match="is one of study 's', whose runs share a budget"):
        further(tracker, result, EIGHT)
    del record.tags["study"]
    assert json.loads(file.read_text())["updates"] == 1, "nothing was begun"


PLAIN_CATGAN = {"system": {"name": "catgan"}}


@pytest.mark.parametrize(
    ("config", "keys"),
    [
        (load("mle"), []),
        (load("modern"), ["train.lr_decay"]),
        (load("mle", ["temperature.name=linear"]), ["temperature"]),
        (load("mle", ["temperature.name=linear", "temperature.steps=5"]), []),
        (load("catgan"), []),
        (parse(PLAIN_CATGAN, registry()), ["system.steps"]),
        (load("mle", ["train.curriculum_start=4", "train.instance_noise=0.1"]),
         ["train.instance_noise", "train.curriculum_start"]),
    ],
)  # fmt: skip
def test_schedules_that_follow_the_budget_are_named(config: Config, keys: list[str]) -> None:
    assert _of_budget(config) == keys


@pytest.mark.slow
def test_the_store_knows_the_new_budget(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow refuses a parameter that changes."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri := f"sqlite:///{tmp_path}/mlflow.db")
    tracker = open_tracker(uri)
    first = run(tiny(), tracker=tracker)
    arguments = ["run", "--resume", first.run_id, "--json", "--set"]
    code, out, err = textgan(*arguments, EIGHT, capsys=capsys)
    assert code == 0, err
    document = json.loads(out)
    assert (document["run_id"], document["updates"]) == (first.run_id, 8)
    code, out, _ = textgan("runs", "--json", capsys=capsys)
    assert json.loads(out)[0]["train.updates"] == "8"
    assert tracker.undelivered() == []
    assert not [*(tracker.store_dir / "journal").glob("*.refused*")]
    assert reproduce(tracker, first.run_id).verdict == "identical"
    code, _, err = textgan(*arguments, "train.lr_decay=0.1", capsys=capsys)
    assert code == 2
    assert f"textgan fork {first.run_id[:8]} starts a new run" in " ".join(err.split())
