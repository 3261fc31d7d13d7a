"""`study.selection`: what is scored, told to searches and reported for each rule."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.config import Config
from core.errors import InputError
from core.metrics.catalogue import checkpoint_key
from core.tracking.memory import MemoryTracker
from core.tracking.protocol import RunLabels, Tracker
from experiments.loading import resolve_file
from studies.analysis.selection import rule_results
from studies.definition import Study, load_study
from studies.report import build, document, read
from studies.running.execute import begin, work
from studies.running.queue import ended, latest, load_queue
from studies.running.storage import storage_url
from tests.conftest import ROOT
from variants import registry

RULES = ("last", "best", "early_stop")
STOP = "train.stop={ metric = 'eval/ms_jaccard_2', patience = 2 }"
ALL = "study.selection=['last', 'best', 'early_stop']"
# By `best` the detached rows win by far, by the others the Gumbel rows, the later by less than
# the seeds differ.
SCORES = {"last": (0.5, 0.4), "best": (0.5, 0.7), "early_stop": (0.50, 0.49)}
GAP = {"last": 0.0, "best": 0.1, "early_stop": 0.05}


class Scored:
    """Scores each rule's checkpoint by the configuration, 0.02 x seed better."""

    def __init__(self, of: Callable[[Config, str], float]) -> None:
        self.of, self.tested, self.configs = of, set[str](), list[Config]()

    def __call__(
        self, config: Config | None, *, tracker: Tracker, labels: RunLabels, started: Any,
        test: bool, **_: object,
    ) -> Any:  # fmt: skip
        assert config is not None
        tags = {"seed": str(config.seed), **labels.tags}
        record = tracker.start_run(
            labels.experiment, labels.name or "", params={}, tags=tags, parent_id=labels.parent_id
        )
        started(record.run_id)
        for rule in RULES:
            score = self.of(config, rule) + 0.02 * (config.seed % 5)
            both = {"eval/ms_jaccard_2": score + GAP[rule], "test/ms_jaccard_2": score}
            kept = both if test else {"eval/ms_jaccard_2": score + GAP[rule]}
            kept["eval/unique"] = float(config.train.generator_lr <= 1e-3)
            record.log_metrics(
                {checkpoint_key(key, rule): value for key, value in kept.items()}, 20
            )
        self.tested |= {labels.tags["level"]} if test else set()
        self.configs.append(config)
        record.finish("ok")
        return tracker.run(record.run_id)


SAMPLING = "study.axes={ sampling = ['detached', 'gumbel_softmax'] }"


def by_sampling(config: Config, rule: str) -> float:
    assert config.sampling is not None
    return SCORES[rule][config.sampling.name == "detached"]


def by_rate(config: Config, rule: str) -> float:
    """A search whose best rate is 1e-3 by `last`, and the highest, 3e-2, by the others."""
    best = 1e-3 if rule == "last" else 3e-2
    return -3 * abs(math.log10(config.train.generator_lr / best))


def go(
    tmp_path: Path, file: str, training: Scored, *settings: str
) -> tuple[Study, MemoryTracker, str]:
    path = ROOT / "experiments" / "smoke" / file
    study = load_study(path, [ALL, STOP, "train.updates=20", *settings], registry(), resolve_file)
    tracker = MemoryTracker(tmp_path)
    url = storage_url(tracker)
    begin(study, study.table.name, tracker, url, "textgan study x.toml")
    work(study.table.name, tracker, url, training, registry())
    return study, tracker, url


def test_each_rule_has_its_ranking_gap_and_winner(tmp_path: Path) -> None:
    training = Scored(by_sampling)
    study, tracker, _ = go(
        tmp_path, "design_axes.toml", training, "study.seeds=4",
        SAMPLING,
    )  # fmt: skip
    assert all(each.rules == [*RULES] for each in training.configs)
    assert {each.evaluation.keep_best for each in training.configs} == {"eval/ms_jaccard_2"}
    reading = read(tracker, study.table.name)
    last, best, stopped = rule_results(reading)
    assert list(last.ranking) == ["gumbel_softmax", "detached"]
    assert list(best.ranking) == ["detached", "gumbel_softmax"]
    assert best.ranking["detached"] == pytest.approx(0.7 + 0.03 + 0.1)
    for each in (last, best, stopped):
        assert each.gap == pytest.approx(GAP[each.rule])
        assert each.low <= each.gap <= each.high
        assert each.runs == 8
    assert (last.other_winner, best.other_winner) == (0.0, 1.0)
    assert best.winner_changes == 0.0
    assert 0.1 < stopped.winner_changes < 0.6, "differences of .01 are less than the seeds differ"
    page = build(reading).markdown()
    assert "## Which checkpoint" in page
    assert "`gumbel_softmax` is the best row by `last`, but not by `best`." in page
    assert document(reading)["selection"][1]["metric"] == "eval_best/ms_jaccard_2"


def test_the_first_rule_ranks_and_one_rule_has_no_section(tmp_path: Path) -> None:
    training = Scored(by_sampling)
    study, tracker, _ = go(
        tmp_path, "design_axes.toml", training, "study.selection=best",
        SAMPLING,
    )  # fmt: skip
    reading = read(tracker, study.table.name)
    assert reading.board.metric == "eval_best/ms_jaccard_2"
    assert reading.board.rows[0].variant == "detached"
    assert training.tested == set(), "one rule has no price that is shown"
    assert "## Which checkpoint" not in build(reading).markdown()
    assert document(reading)["selection"] == []


def test_a_search_is_told_the_score_of_the_first_rule(tmp_path: Path) -> None:
    training = Scored(by_rate)
    study, tracker, url = go(
        tmp_path, "search.toml", training, "study.selection=['best', 'last']", "study.trials=8",
        "study.pruner='none'", "study.space={ 'train.generator_lr' = true }", "study.finalists=1",
        "study.sampler='random'",
    )  # fmt: skip
    assert training.tested == {"seed"}, "trials never see the test split"
    results = ended(latest(load_queue(study.table.name, url)))
    trials = [each for each in results if each.settings]
    rates = {each.variant: each.settings["train.generator_lr"] for each in trials}
    scores = {each.variant: each.scores["eval/ms_jaccard_2"] for each in trials}
    largest = max(rates, key=lambda name: rates[name])
    assert max(scores, key=lambda name: scores[name]) == largest
    best, last = rule_results(read(tracker, study.table.name))
    assert best.metric == "test_best/ms_jaccard_2"
    assert list(best.ranking) == [largest, "published"]
    missing = (1 - 1 / 7) ** 7  # of the best of seven trials in a resample
    assert best.winner_changes == pytest.approx(missing, abs=0.05)
    assert last.other_winner is not None
    assert last.other_winner > 0.2, "by `last` a trial wins that did not run again"


def test_resampled_trials_keep_the_constraints_of_a_search(tmp_path: Path) -> None:
    study, tracker, url = go(
        tmp_path, "search.toml", Scored(by_rate), "study.selection=['best', 'last']",
        "study.trials=8", "study.pruner='none'", "study.space={ 'train.generator_lr' = true }",
        "study.finalists=1", "study.constraints=['eval/unique >= 0.5']", "study.sampler='nsga2'",
        "train.generator_lr=1e-5",
    )  # fmt: skip
    results = ended(latest(load_queue(study.table.name, url)))
    rates = {e.variant: e.settings["train.generator_lr"] for e in results if e.settings}
    allowed = {name: rate for name, rate in rates.items() if rate <= 1e-3}
    assert 3 < len(allowed) < 7
    best, _ = rule_results(read(tracker, study.table.name))
    assert next(iter(best.ranking)) == max(allowed, key=lambda name: allowed[name])
    missing = (1 - 1 / 7) ** 7  # of the best of seven trials in a resample
    assert best.winner_changes == pytest.approx(missing, abs=0.05)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["study.selection=['first']"], "study.selection = 'first': must be 'last', 'best' or"),
        (["study.selection=['best', 'best']"], "must not have the same rule twice"),
        (["study.selection=[]"], "study.selection"),
        (["train.stop.patience=0"], "train.stop.patience = 0: must be 1 or more"),
        (["evaluation.keep_best=eval/jsd_bound"], "computed at the last evaluation only"),
    ],
)
def test_bad_selections_are_refused_before_anything_runs(
    settings: list[str], words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        go(tmp_path, "design_axes.toml", Scored(by_sampling), *settings)
    assert words in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_early_stopping_needs_its_rule() -> None:
    path = ROOT / "experiments" / "smoke" / "design_axes.toml"
    with pytest.raises(InputError, match="'early_stop' needs"):
        load_study(path, [ALL], registry(), resolve_file)


def test_whole_systems_stop_by_the_rule_of_the_study() -> None:
    path = ROOT / "experiments" / "studies" / "first_minute.toml"
    study = load_study(path, [ALL, STOP], registry(), resolve_file)
    for variant in study.variants:
        assert variant.config.train.stop is not None
        assert variant.config.train.stop.patience == 2
        assert variant.config.rules == [*RULES]


def test_trunks_of_a_branch_study_are_not_stopped() -> None:
    path = ROOT / "experiments" / "smoke" / "branch.toml"
    study = load_study(path, ["study.selection=early_stop", STOP], registry(), resolve_file)
    trunk, *_ = study.variants
    assert (trunk.config.train.stop, trunk.config.rules) == (None, ["last"])
    kind: Any = study.kind
    assert {each.rules[0] for (each,) in kind.configs.values()} == {"early_stop"}
