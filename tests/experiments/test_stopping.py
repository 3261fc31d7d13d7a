"""Early stopping, and which checkpoint of a run is scored and becomes its model."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config import Config
from core.config.schema import StopConfig
from core.tracking.memory import MemoryTracker
from core.training.checkpoint import Counters
from core.training.state import TrainingState
from experiments.single_run.checkpoints import kept, sampler_of
from experiments.single_run.evaluator import Evaluator
from experiments.single_run.run import run
from tests.conftest import SMOKE, tiny
from tests.experiments.test_cli import textgan

METRIC = "eval/ms_jaccard_2"
STOP = f"train.stop={{ metric = '{METRIC}', patience = 2, min_delta = 0.5 }}"
SHORT = ("train.updates=6", "evaluation.every=1", "train.checkpoint_every=1", STOP)
BEST = f"evaluation.keep_best='{METRIC}'"
ALL = "evaluation.selection=['best', 'last', 'early_stop']"


def picks(config: Config, values: list[float | None]) -> Counters:
    """The counters after evaluations with these values, at updates 0, 1, ..."""
    state = object.__new__(TrainingState)
    state.config, state.counters = config, Counters()
    for state.counters.update, value in enumerate(values):
        state.update_picks({METRIC: value, "eval/self_bleu_2": value})
    return state.counters


@pytest.mark.parametrize("metric", [METRIC, "eval/self_bleu_2"])
def test_the_rule_is_the_plain_definition(metric: str) -> None:
    stop = StopConfig(metric=metric, patience=2, min_delta=0.1)
    config = tiny(f"evaluation.keep_best='{metric}'")
    config = config.model_copy(update={"train": config.train.model_copy(update={"stop": stop})})
    sign = 1 if metric == METRIC else -1
    found = picks(config, [sign * x for x in (9, 0.5, 0.55, 0.65, 0.7, 0.7, 0.9)])
    assert (found.stop, found.waited) == ((3, sign * 0.65), 2), "0.9 came after the rule had ended"
    assert found.best == (6, sign * 0.9)
    found = picks(config, [9.0, None, sign * 0.5, None, None])
    assert (found.stop, found.best, found.waited) == ((2, sign * 0.5), (2, sign * 0.5), 2)


def test_a_run_that_does_not_improve_stops(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    result = run(tiny(*SHORT, BEST), tracker=tracker)
    assert (result.outcome, result.updates) == ("ok", 3), "two evaluations after the first"
    record = tracker.run(result.run_id)
    assert record.tags["reason"] == f"stopped early: {METRIC} did not improve after update 1"
    assert record.tags["early_stop"].endswith("at update 1")
    assert "did not improve" in record.tags["mlflow.note.content"]
    curve = dict(tracker.history(result.run_id, METRIC))
    best = max((1, 2, 3), key=lambda update: curve[update])
    assert tracker.history(result.run_id, "eval_best/ms_jaccard_2") == [(best, curve[best])]
    assert "undefined.jsd_bound" in record.tags, "the last evaluation tried it"
    model = sampler_of(tracker, result.run_id, None)
    assert model.sample(8) == sampler_of(tracker, result.run_id, "best").sample(8)


@pytest.mark.slow
def test_a_run_that_was_killed_stops_at_the_same_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tiny(*SHORT, BEST), tracker=MemoryTracker(tmp_path / "whole"))
    tracker = MemoryTracker(tmp_path / "broken")

    class Killed(BaseException):
        pass

    def die(step: int, _: int | None, values: object) -> None:
        if step == 2 and METRIC in values:  # type: ignore[operator]
            raise Killed

    def die_scoring(*_: object) -> Evaluator:
        raise Killed

    with pytest.raises(Killed):
        run(tiny(*SHORT, BEST), tracker=tracker, report=die)
    (died,) = tracker.runs()
    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "of", die_scoring)
        with pytest.raises(Killed):
            run(None, tracker=tracker, resume=died.run_id)
    resumed = run(None, tracker=tracker, resume=died.run_id)
    assert resumed.updates == whole.updates
    assert resumed.metrics == whole.metrics


@pytest.mark.slow
def test_with_several_rules_all_pick_from_the_whole_run(tmp_path: Path) -> None:
    tracker = MemoryTracker(tmp_path)
    result = run(tiny(*SHORT, BEST, ALL, "train.generator_lr=0.005"), tracker=tracker, test=True)
    assert result.updates == 6
    assert set(kept(tmp_path / "runs" / result.run_id)) == {"best", "early_stop"}
    curve = dict(tracker.history(result.run_id, METRIC))
    for rule in ("best", "early_stop"):
        ((update, value),) = tracker.history(result.run_id, f"eval_{rule}/ms_jaccard_2")
        assert value == curve[update]
        assert result.metrics[f"eval_{rule}/ms_jaccard_2"] == value
        tested = tracker.history(result.run_id, f"test_{rule}/ms_jaccard_2")
        assert [step for step, _ in tested] == [update]
    assert result.metrics["eval_best/ms_jaccard_2"] == max(list(curve.values())[1:])
    assert result.metrics["eval_early_stop/ms_jaccard_2"] == curve[1], "the only improvement"
    assert "test/ms_jaccard_2" in result.metrics
    model = sampler_of(tracker, result.run_id, None)
    assert model.sample(8) == sampler_of(tracker, result.run_id, "best").sample(8)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["train.stop.metric=eval/nope", "train.stop.patience=2"], "must be one of eval/"),
        (["train.stop.metric=eval/jsd_bound", "train.stop.patience=2"], "last evaluation only"),
        ([f"train.stop.metric={METRIC}", "train.stop.patience=0"], "must be 1 or more"),
        ([STOP, "evaluation.every=40"], "evaluation.every = 40 must be below train.updates = 40"),
        (["evaluation.selection=['best']"], "needs evaluation.keep_best"),
        (["evaluation.selection=['early_stop']"], "needs train.stop"),
    ],
)
def test_what_cannot_stop_or_be_picked_is_refused(
    settings: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [part for each in settings for part in ("--set", each)]
    code, _, err = textgan("run", str(SMOKE), *given, capsys=capsys)
    assert code == 2
    assert words in err
    assert len(err.splitlines()) <= 2
