"""Which checkpoints stay, what they are, and what `textgan runs gc` removes of runs that ended."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pydantic import ValidationError

from core.config import EvaluationConfig, TrainConfig
from core.errors import InputError
from core.metrics.catalogue import metric_info
from core.tracking.journal import Journal
from core.tracking.memory import MemoryTracker
from core.training import checkpoint
from experiments.deletion import unneeded
from experiments.single_run.checkpoints import kept, sampler_of
from experiments.single_run.run import run
from tests.conftest import tiny
from tests.experiments.test_cli import textgan

METRIC = "eval/ms_jaccard_2"
SOME = ("train.updates=6", "train.checkpoint_every=1", "train.keep_every=2", "train.ema=0.5",
        "evaluation.every=1", "train.generator_lr=0.05",
        f"evaluation.keep_best='{METRIC}'")  # fmt: skip


def test_the_best_and_every_so_many_stay(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    result = run(tiny(*SOME), tracker=tracker)
    found = kept(tmp_path / "runs" / result.run_id)
    assert list(found) == ["2", "4", "6", "best"]
    for name in ("2", "4", "6"):
        saved = checkpoint.read(found[name])
        assert saved is not None
        assert saved.counters.update == int(name)
    scores = dict(tracker.history(result.run_id, METRIC))
    del scores[0]
    best = max(scores.values())
    update = min(step for step, value in scores.items() if value == best)
    saved = checkpoint.read(found["best"])
    assert saved is not None
    assert saved.counters.best == (update, best)
    assert saved.counters.update == update
    assert tracker.run(result.run_id).tags["best"] == f"{METRIC} {best:.6g} at update {update}"


def test_a_run_that_was_killed_keeps_the_same(tmp_path: Path) -> None:
    whole, broken = MemoryTracker(tmp_path / "whole"), MemoryTracker(tmp_path / "broken")
    config = tiny(*SOME, "train.checkpoint_every=2")
    expected = run(config, tracker=whole)

    class Killed(BaseException):
        pass

    def die(step: int, _: int | None, values: object) -> None:
        if step == 5 and METRIC in values:  # type: ignore[operator]
            raise Killed

    with pytest.raises(Killed):
        run(config, tracker=broken, report=die)
    (died,) = broken.runs()
    run(None, tracker=broken, resume=died.run_id)
    ours = kept(tmp_path / "broken" / "runs" / died.run_id)
    theirs = kept(tmp_path / "whole" / "runs" / expected.run_id)
    assert list(ours) == list(theirs)
    for name, file in ours.items():
        one, other = checkpoint.read(file), checkpoint.read(theirs[name])
        assert one is not None
        assert other is not None
        assert one.counters.best == other.counters.best
        assert all(torch.equal(one.tensors[key], other.tensors[key]) for key in other.tensors)


def test_a_run_that_is_training_is_sampled_at_its_last_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: list[str] = []
    seen: list[tuple[int, str, str]] = []

    def look(step: int, _: int | None, values: object) -> None:
        if METRIC in values:  # type: ignore[operator]
            capsys.readouterr()
            seen.append(textgan("sample", begun[0], "-n", "3", capsys=capsys))

    run(tiny("train.updates=2", "train.checkpoint_every=1", "evaluation.every=2"),
        started=begun.append, report=look)  # fmt: skip
    (none, _, no_checkpoint), (code, drawn, said) = seen
    assert (none, code, len(drawn.splitlines())) == (2, 0, 3)
    assert "first checkpoint yet" in no_checkpoint
    assert said == f"run {begun[0][:8]} has not ended; this is its checkpoint after 1 update\n"
    assert "has not ended" not in textgan("sample", begun[0], "-n", "3", capsys=capsys)[2]


def test_sentences_are_drawn_at_a_checkpoint_that_was_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(tiny(*SOME))
    capsys.readouterr()
    code, last, _ = textgan("sample", result.run_id[:8], "-n", "5", capsys=capsys)
    assert code == 0
    assert textgan("sample", result.run_id, "-n", "5", "--at", "6", capsys=capsys)[1] == last
    document = json.loads(textgan("sample", result.run_id, "--at", "2", "--json", capsys=capsys)[1])
    assert document["at"] == "2"
    assert document["sentences"] == sampler_of(
        MemoryTracker(tmp_path / "mlruns"), result.run_id, "2"
    ).sample(20)
    code, _, err = textgan("sample", result.run_id, "--at", "3", capsys=capsys)
    assert code == 2
    assert "no checkpoint '3'; kept are: 2, 4, 6, best" in err


def test_gc_takes_what_an_ended_run_does_not_need(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(tiny(*SOME, "train.updates=5"))
    folder, journals = tmp_path / "mlruns/runs" / result.run_id, tmp_path / "mlruns/journal"
    capsys.readouterr()
    frees = json.loads(textgan("doctor", "--json", capsys=capsys)[1])["gc_frees_mb"]
    journal = Journal(journals / f"{result.run_id}.jsonl")
    journal.entry("tags", values={"late": "yes"})
    journal.close()
    (one,) = unneeded(tmp_path / "mlruns")
    assert one.contents == "checkpoint", "a journal of which something waits is needed"
    assert textgan("sync", capsys=capsys)[0] == 0
    assert [each.contents for each in unneeded(tmp_path / "mlruns")] == ["checkpoint and journal"]
    journal = Journal(journals / f"{result.run_id}.jsonl")
    unneeded(tmp_path / "mlruns")[0].remove()
    assert (journals / f"{result.run_id}.jsonl").exists(), "somebody writes it after all"
    assert (folder / "checkpoint.safetensors").exists()
    journal.close()
    (only,) = unneeded(tmp_path / "mlruns")
    ended = (folder / "result.json").read_bytes()
    (folder / "result.json").unlink()
    only.remove()
    assert (folder / "checkpoint.safetensors").exists(), "the run is extended meanwhile"
    (folder / "result.json").write_bytes(ended)
    assert textgan("runs", "gc", capsys=capsys)[0] == 2, "nobody was there to ask"
    with monkeypatch.context() as asked:
        asked.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
        asked.setattr("typer.confirm", lambda *_, **__: False)
        code, _, err = textgan("runs", "gc", capsys=capsys)
        assert (code, err.strip().splitlines()[-1]) == (0, "nothing was deleted")
    assert (folder / "checkpoint.safetensors").exists()
    code, _, err = textgan("runs", "gc", "--yes", capsys=capsys)
    assert code == 0
    assert "(checkpoint and journal)" in err
    assert frees > 0.1
    assert sorted(p.name for p in folder.iterdir()) == ["config.toml", "kept", "result.json"]
    assert not list(journals.glob(f"{result.run_id}*"))
    assert "nothing to remove" in textgan("runs", "gc", "--yes", capsys=capsys)[2]
    assert json.loads(textgan("doctor", "--json", capsys=capsys)[1])["gc_frees_mb"] == 0
    assert run(None, resume=result.run_id) == result


def test_a_run_that_may_go_on_keeps_its_checkpoint(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)

    def interrupt(step: int, _: int | None, __: object) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tiny(*SOME, "train.log_every=1"), tracker=tracker, report=interrupt)
    assert unneeded(tmp_path) == []


def test_before_the_first_checkpoint_there_is_nothing_to_draw_from(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    begun = tracker.start_run("s", "r", params={}, tags={})
    (folder := tmp_path / "runs" / begun.run_id).mkdir(parents=True)
    (folder / "config.toml").write_text(tiny("train.checkpoint_every=7").toml())
    with pytest.raises(InputError, match="first checkpoint yet; it writes one every 7 updates"):
        sampler_of(tracker, begun.run_id, None)


def test_what_cannot_be_kept_is_refused() -> None:
    with pytest.raises(ValidationError, match="keep_every 250 must be a multiple of checkpoint"):
        TrainConfig(keep_every=250)
    with pytest.raises(ValidationError, match="must be one of eval/"):
        EvaluationConfig(keep_best="bleu")
    with pytest.raises(ValidationError, match="cannot rank"):
        EvaluationConfig(keep_best="eval/entropy")
    assert metric_info("eval/entropy").direction == "near"
    with pytest.raises(InputError, match=r"none \(see train.keep_every"):
        sampler_of(MemoryTracker(Path()), "0" * 32, "best")
