"""Searches: ranges, proposals, finalists with fresh seeds, pruning, budgets."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial

from core.config import Config
from core.errors import InputError
from core.tracking.memory import MemoryTracker
from core.tracking.protocol import RunLabels, Tracker
from core.training.loop import Stopped
from experiments.loading import resolve_file
from experiments.stored_study import StoredStudy
from studies.definition import Study, load_study
from studies.plan import Done, Limit
from studies.report import document, read, sections
from studies.running.execute import begin, resume, work
from studies.running.proposals import Proposals
from studies.running.queue import (
    ended,
    latest,
    load_queue,
    mark_mine,
    queue_names,
    set_limit,
)
from studies.running.storage import storage_url
from studies.running.worker import Worker
from studies.space import ranges
from tests.conftest import ROOT, tiny
from variants import registry

FILE = ROOT / "experiments" / "smoke" / "search.toml"


BEST_RATE = 2e-3


class Landscape:
    """Scores a run by its generator rate: best at BEST_RATE, a little of the seed, and `noise`."""

    def __init__(self, noise: float = 0.0) -> None:
        self.noise = noise
        self.names: list[str] = []
        self.breaks: Callable[[str], None] = lambda name: None
        self.further: Callable[[float], dict[str, float]] = lambda distance: {}

    def __call__(
        self,
        config: Config | None,
        *,
        tracker: Tracker,
        labels: RunLabels,
        resume: str | None,
        started: Callable[[str], None],
        report: Any,
        test: bool,
        likelihood: bool,
    ) -> Any:
        name = labels.name or ""
        self.names.append(name)
        assert config is not None
        record = tracker.start_run(
            labels.experiment, name, params={}, tags={"seed": str(config.seed), **labels.tags},
            parent_id=labels.parent_id,
        )  # fmt: skip
        started(record.run_id)
        self.breaks(name)
        distance = math.log10(config.train.generator_lr / BEST_RATE)
        score = 0.8 - 0.2 * distance**2 + 0.001 * (config.seed % 7)
        score += self.noise * zlib.crc32(name.encode()) / 2**32
        values = {"eval/ms_jaccard_2": score, "eval/self_bleu_2": 0.5 - 0.1 * distance}
        values |= self.further(distance)
        outcome = "ok"
        try:
            for step in (0, 10, 20):
                record.log_metrics(values, step)
                if report is not None:
                    report(step, 20, values)
        except Stopped:
            outcome = "killed"
        if test:
            record.log_metrics({f"test/{key[5:]}": value for key, value in values.items()}, 20)
        record.finish(outcome)  # type: ignore[arg-type]
        return tracker.run(record.run_id)


def plan(*overrides: str) -> Study:
    """The smoke search with another trial and another seed, whatever its file is sized for."""
    size = ("study.trials=6", "study.seeds=3")
    return load_study(FILE, [*size, *overrides], registry(), resolve_file)


def go(
    tmp_path: Path,
    study: Study,
    training: Landscape,
    limit: Limit = Limit(),  # noqa: B008
) -> tuple[MemoryTracker, str]:
    tracker = MemoryTracker(tmp_path)
    url = storage_url(tracker)
    begin(study, study.table.name, tracker, url, "textgan study x.toml", limit)
    work(study.table.name, tracker, url, training, registry())
    return tracker, url


def results(url: str) -> list[Done]:
    return ended(latest(load_queue("search_smoke", url)))


def test_ranges_stand_beside_the_fields() -> None:
    found = dict(ranges(tiny()))
    assert found["train.generator_lr"].log
    assert (found["schedule.n_d"].low, found["schedule.n_d"].high) == (1, 10)
    assert found["schedule.n_d"].whole
    assert not found["train.beta1"].whole


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("study.space={'train.generator_rates'=true}", "did you mean 'train.generator_lr'"),
        ("study.space={'train.generator_lr'=[1e-9, 1e-3]}", "may only narrow"),
        ("study.space={'train.generator_lr'=[1e-3, 1e-2]}", "excludes the published value"),
        ("study.space={'train.ema'=true}", "excludes the published value"),
        ("study.space={'train.generator_lr'=3}", "give true, [low, high]"),
        ("study.space={'train.generator_lr'=[1e-3, 1e-4]}", "low must be below high"),
        ("study.space={'train.generator_lr'=[1e-3, 1e-3]}", "low must be below high"),
        ("study.space={'sampling'={choices=['gumbel_softmax', 'categorical']}}", "needs"),
        ("study.sampler='tpee'", "study.sampler"),
        ("study.tuning_seed=1", "not used for tuning"),
        ("study.tuning_seeds=0", "study.tuning_seeds = 0: must be 1 or more"),
        ("study.tuning_seeds=1.5", "study.tuning_seeds = 1.5: must be"),
        ("study.tuning_seeds=21", "study.tuning_seeds = 21: must be 20 or less"),
        ("study.objectives=['eval/self_bleu_2', 'eval/ms_jaccard_2']", "pruner"),
        ("study.objectives=['eval/self_bleu_2']", "must be one of the objectives"),
        ("study.warm_start='nothing'", "no search 'nothing"),
        ("study.systems=['mle']", "study.systems: a search has one system"),
    ],
)
def test_faults_of_a_search_are_named(override: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        go(tmp_path, plan(override), Landscape())
    assert words in str(caught.value)
    assert queue_names(storage_url(MemoryTracker(tmp_path))) == [], "nothing is left"


def test_a_search_runs_the_published_first_and_its_best_again(tmp_path: Path) -> None:
    training = Landscape()
    study = plan("study.trials=20", "study.pruner='none'", "study.finalists=2")
    tracker, url = go(tmp_path, study, training)
    assert training.names[0] == "trial 000"
    assert len(training.names) == 20 + 3 * 3
    first = next(each for each in results(url) if each.published)
    assert (first.variant, first.settings["train.generator_lr"]) == ("trial 000", 1e-4)
    board = read(tracker, "search_smoke").board
    assert board.metric == "test/ms_jaccard_2"
    assert {row.variant for row in board.rows} >= {"published"}
    assert board.rows[0].variant != "published"
    assert board.rows[0].score > 0.75
    found = {section.key: section for section in sections(read(tracker, "search_smoke"))}
    assert set(found) == {"finalists", "settings", "trials", "tuning", "importance"}
    scores = [float(row[3]) for row in found["trials"].rows]
    assert scores == sorted(scores, reverse=True)
    assert found["trials"].columns[:4] == ("trial", "tuning seeds", "outcome", "eval/ms_jaccard_2")
    assert set(found["trials"].columns[4:]) == set(first.settings)
    listed = document(read(tracker, "search_smoke"))["trials"]
    assert [each["trial"] for each in listed] == [row[0] for row in found["trials"].rows]
    (its,) = (each for each in listed if each["trial"] == "trial 000")
    assert its["settings"] == first.settings
    assert its["metrics"] == {"eval/ms_jaccard_2": first.scores["eval/ms_jaccard_2"]}
    runs = StoredStudy("search_smoke", tracker).runs()
    tried = runs[runs["level"] == "trial"].set_index("variant")
    assert tried["score"]["trial 000"] == first.scores["eval/ms_jaccard_2"]
    final = runs[runs["level"] == "seed"]
    assert final["score"].to_list() == final["test/ms_jaccard_2"].to_list()
    assert ("train.generator_lr", "0.0001") in {
        (row[0], row[1 + found["settings"].columns[1:].index("published")])
        for row in found["settings"].rows
    }
    assert found["importance"].figures["importance"]().axes
    assert all(row[2].startswith("+") for row in found["finalists"].rows), "better than published"
    assert found["finalists"].explanation.count("All contrasts were planned") == 1
    assert found["importance"].rows[0][1] == "train.generator_lr", "the most important first"
    assert found["tuning"].figures["tuning"]().axes
    again = Landscape()
    resume("search_smoke", url, study)
    work("search_smoke", tracker, url, again, registry())
    assert again.names == []


def test_further_published_settings_are_trials_like_others(tmp_path: Path) -> None:
    better = "study.published=[{'train.generator_lr'=2e-3}]"
    study = plan(better, "study.trials=2", "study.finalists=1", "study.pruner='none'")
    tracker, url = go(tmp_path, study, Landscape())
    assert {each.variant for each in results(url) if each.published} == {"trial 000"}
    reading = read(tracker, "search_smoke")
    assert [row.variant for row in reading.board.rows] == ["trial 001", "published"]
    for run in tracker._runs.values():  # as earlier versions had it
        if run.tags.get("level") == "trial":
            run.tags["published"] = "true"
    (rates,) = (row for section in sections(read(tracker, "search_smoke"))
                if section.key == "settings" for row in section.rows
                if row[0] == "train.generator_lr")  # fmt: skip
    assert rates[1:] == ["0.002", "0.0001"]


def test_trials_that_still_run_are_no_part_of_the_tuning_curve(tmp_path: Path) -> None:
    tracker, _ = go(tmp_path, plan("study.trials=2", "study.pruner='none'"), Landscape())

    def curve() -> list[list[str]]:
        found = {section.key: section.rows for section in sections(read(tracker, "search_smoke"))}
        return [list(row) for row in found["tuning"]]

    before = curve()
    tags = {"level": "trial", "variant": "trial 002", "arm": "search", "settings": "{}"}
    tracker.start_run("search_smoke", "trial 002", params={}, tags=tags)
    assert curve() == before
    assert before[-1][1] == "2"


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random", "quasi_random", "cma_es", "nsga2"])
def test_every_sampler_proposes_the_same_again(sampler: str, tmp_path: Path) -> None:
    settings = []
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        study = plan(f"study.sampler='{sampler}'", "study.trials=6", "study.pruner='none'",
                     "study.seeds=1")  # fmt: skip
        _, url = go(tmp_path / place, study, Landscape())
        settings.append([each.settings for each in results(url) if each.settings])
    assert settings[0] == settings[1]
    rates = [each["train.generator_lr"] for each in settings[0]]
    assert len(set(rates)) >= 4
    assert all(1e-5 <= rate <= 3e-2 for rate in rates)


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_trials_below_the_others_are_stopped_early(pruner: str, tmp_path: Path) -> None:
    study = plan("study.trials=20", f"study.pruner='{pruner}'")
    tracker, url = go(tmp_path, study, Landscape())
    done = [each for each in results(url) if each.settings]
    pruned = [each for each in done if each.outcome == "killed"]
    kept = [each for each in done if each.outcome == "ok"]
    assert 0 < len(pruned) < 20
    arm = load_queue("search_smoke / search", url)
    states = [trial.state for trial in arm.trials]
    assert states.count(TrialState.PRUNED) == len(pruned)
    assert min(e.scores["eval/ms_jaccard_2"] or 0 for e in pruned) < max(
        e.scores["eval/ms_jaccard_2"] or 0 for e in kept
    )
    runs = tracker.runs("search_smoke", tags={"level": "trial"})
    assert {run.status for run in runs} == {"KILLED", "FINISHED"}


def test_several_objectives_give_a_front(tmp_path: Path) -> None:
    study = plan("study.objectives=['eval/ms_jaccard_2', 'eval/self_bleu_2']",
                 "study.pruner='none'", "study.sampler='nsga2'", "study.trials=16",
                 "study.finalists=3")  # fmt: skip
    tracker, _ = go(tmp_path, study, Landscape())
    found = {section.key: section for section in sections(read(tracker, "search_smoke"))}
    front = [(float(a), float(b)) for _, a, b in found["front"].rows]
    assert len(front) >= 2
    assert not any(a[0] > b[0] and a[1] < b[1] for a in front for b in front)
    assert found["front"].figures["front"]().axes


def test_a_search_starts_from_an_earlier_one(tmp_path: Path) -> None:
    tracker, url = go(tmp_path, plan("study.pruner='none'"), Landscape())
    warm = plan("study.warm_start='search_smoke'", "study.pruner='none'")
    begin(warm, "second", tracker, url, "")
    arm = load_queue("second / search", url)
    assert len(arm.get_trials(states=(TrialState.COMPLETE,))) == 6
    work("second", tracker, url, Landscape(), registry())
    assert len(arm.trials) == 12


def test_earlier_trials_outside_of_the_space_are_left_out(tmp_path: Path) -> None:
    space = "study.space={'train.generator_lr'={choices=[1e-4, %s]}}"
    tracker, url = go(tmp_path, plan(space % "1e-3", "study.pruner='none'"), Landscape())
    warm = plan(space % "1e-2", "study.warm_start='search_smoke'", "study.pruner='none'")
    begin(warm, "second", tracker, url, "")
    earlier = load_queue("second / search", url).get_trials(states=(TrialState.COMPLETE,))
    assert 0 < len(earlier) < 6


def test_choices_are_called_by_their_values_and_those_of_earlier_versions_are_read(
    tmp_path: Path,
) -> None:
    study = plan("study.space={'train.generator_lr'={choices=[1e-4, 1e-3]}}", "study.pruner='none'")
    arm = study.kind.arms()[0]
    _, url = go(tmp_path, study, Landscape())
    queue = load_queue("search_smoke / search", url)
    assert {trial.params["train.generator_lr"] for trial in queue.trials} == {"0.0001", "0.001"}

    old = CategoricalDistribution(["generator_lr=0.0001", "generator_lr=0.001"])
    before = optuna.create_study(storage=queue._storage, study_name="old / search")
    for label in old.choices:
        before.add_trial(create_trial(params={"train.generator_lr": label}, value=0.5,
                                      distributions={"train.generator_lr": old}))  # fmt: skip
    drawn = [Proposals("old", arm, url).ask(place).settings for place in range(3)]
    assert {each["train.generator_lr"] for each in drawn} <= {1e-4, 1e-3}
    assert before.trials[-1].params["train.generator_lr"] in old.choices, "one space in a study"
    warm = replace(arm, warm_start="old")
    Proposals("new", warm, url).begin()
    earlier = load_queue("new / search", url).get_trials(states=(TrialState.COMPLETE,))
    assert [trial.params["train.generator_lr"] for trial in earlier] == ["0.0001", "0.001"]


def test_a_broken_trial_does_not_stop_the_search(tmp_path: Path) -> None:
    def broken(name: str) -> None:
        if name == "trial 002":
            raise RuntimeError("boom")

    training = Landscape()
    training.breaks = broken
    tracker, url = go(tmp_path, plan(), training)
    assert len(training.names) == 6 + 2 * 3
    resume("search_smoke", url, plan())
    work("search_smoke", tracker, url, again := Landscape(), registry())
    assert again.names[0] == "trial 002"


def test_a_broken_trial_that_runs_again_is_not_pruned(tmp_path: Path) -> None:
    arm = plan().kind.arms()[0]
    proposals = Proposals("again", arm, storage_url(MemoryTracker(tmp_path)))
    proposals.begin()
    number = proposals.ask(0).number
    assert not proposals.should_stop(number, 10, 0.5)
    proposals.tell(number, [None], stopped=True)
    assert not proposals.should_stop(number, 20, 0.5), "its Optuna trial has ended"


def test_the_end_of_the_time_for_searching_leaves_time_for_finalists(tmp_path: Path) -> None:
    study = plan("study.pruner='none'")
    kind = study.kind
    jobs = kind.plan(()).jobs
    assert (len(jobs), kind.plan(()).later) == (6, 6)
    assert len(kind.plan((), Limit(trials=9)).jobs) == 9
    tracker = MemoryTracker(tmp_path)
    url = storage_url(tracker)
    begin(study, "s", tracker, url, "", Limit(trials=4))
    work("s", tracker, url, training := Landscape(), registry(), until=0.0)
    assert [name for name in training.names if name.startswith("trial")] == []
    assert len(set(training.names)) <= 3


def test_finalists_wait_for_a_trial_that_another_worker_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = MemoryTracker(tmp_path)
    url = storage_url(tracker)
    study = plan("study.pruner='none'", "study.trials=3", "study.seeds=1", "study.finalists=1")
    begin(study, "s", tracker, url, "")
    queue = load_queue("s", url)
    Worker(queue, study, tracker, Landscape(), url).take_one()
    other = queue.ask()
    mark_mine(other)
    asked = asdict(Proposals("s", study.kind.arms()[0], url).ask(1))
    given = {"outcome": "ok", "scores": {"eval/ms_jaccard_2": 0.9}, "proposal": asked["number"]}
    for key, value in (asked | given).items():
        other.set_user_attr(key, value)
    set_limit(queue, Limit(closed=True))
    # There is time for one more run, but not for all finalists in turn.
    monkeypatch.setattr("studies.running.execute._no_time", lambda _, after, *__: after > 0)
    training = Landscape()

    def ends(_: float) -> None:
        assert training.names == []
        queue.tell(other, 0.9)

    monkeypatch.setattr("studies.running.execute.time.sleep", ends)
    work("s", tracker, url, training, registry(), until=0.0)
    assert training.names == ["published · seed 0", f"{other.user_attrs['variant']} · seed 0"]
