"""Comparisons: systems that are tuned alike and tested once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.config import Config
from core.errors import InputError
from core.tracking.memory import MemoryTracker
from experiments.estimate import Estimate, show_plan
from experiments.loading import load, resolve_file, systems
from studies.definition import Study, load_study
from studies.kinds import Queued
from studies.plan import NO_LIMIT, Done, Limit, Plan
from studies.report import read, sections
from studies.running.execute import grow, resume, work
from studies.running.queue import load_queue, outdone
from studies.space import ranges
from tests.studies.test_search import FILE, Landscape, go
from variants import registry


def test_systems_are_tuned_alike_and_tested_once(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        '[study]\nname = "c"\nkind = "comparison"\nmetric = "eval/ms_jaccard_2"\n'
        "seeds = 2\ntrials = 5\n"
        'systems = ["mle", {system = "mle", label = "twin", set = {"train.generator_lr" = 1e-5}}]'
        "\n[study.budget]\nupdates = 20\n"
    )
    study = load_study(file, [], registry(), resolve_file)
    assert next(iter(study.kind.arms()[0].space)) == "train.generator_lr"
    training = Landscape()
    tracker, _ = go(tmp_path, study, training)
    assert len(training.names) == 2 * 5 + 2 * 2
    assert training.names[:2] == ["mle · trial 000", "twin · trial 000"], "in turn"
    board = read(tracker, "c").board
    assert {row.variant for row in board.rows} == {"mle", "twin"}
    assert board.metric == "test/ms_jaccard_2"
    rows = {row.variant: row.score for row in board.rows}
    assert rows["mle"] >= 0.79, "nothing worse than the published settings is taken"
    found = {section.key: section for section in sections(read(tracker, "c"))}
    assert {"finalists", "tuning"} <= set(found)
    assert {row[0] for row in found["tuning"].rows} == {"mle", "twin"}
    trial = tracker.runs("c", tags={"level": "trial"})[0]
    assert json.loads(trial.tags["settings"])["train.generator_lr"] == 2e-3
    file.write_text(file.read_text().partition("[study.budget]")[0])
    with pytest.raises(InputError, match="needs a budget"):
        load_study(file, [], registry(), resolve_file)


def test_what_is_tuned_of_a_system_is_its_own(tmp_path: Path) -> None:
    r1 = 'set = {"penalty.name" = "r1"}'
    file = tmp_path / "c.toml"
    file.write_text(
        '[study]\nname = "c"\nkind = "comparison"\n[study.budget]\nupdates = 20\n'
        '[[study.systems]]\nsystem = "mle"\n[[study.systems]]\nsystem = "modern"\n'
        '[[study.systems]]\nsystem = "gan_textgen"\n'
        '[[study.systems]]\nsystem = "cot"\n'
        f'[[study.systems]]\nsystem = "modern"\nlabel = "with r1"\n{r1}\n'
    )
    arms = load_study(file, [], registry(), resolve_file).kind.arms()
    rates = ["train.generator_lr", "train.discriminator_lr"]
    assert {arm.name: list(arm.space) for arm in arms} == {
        "mle": rates[:1],  # its transformer has nothing else
        "modern": [*rates, "discriminator.dropout"],
        "gan_textgen": [*rates, "penalty.weight"],
        "cot": rates,  # the second is the mediator's
        "with r1": [*rates, "penalty.gamma"],
    }


def test_a_number_of_finalists_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"study\.finalists: a comparison runs the best settings"):
        comparison(tmp_path, "study.finalists=2")


class Rates(Landscape):
    """Notes the learning rate of each run."""

    def __call__(self, config: Config | None, **given: Any) -> Any:
        """As `Landscape`."""
        assert config is not None
        rate = config.train.generator_lr
        self.rates = {**getattr(self, "rates", {}), given["labels"].name: rate}
        return super().__call__(config, **given)


METRIC, RATE = "eval/ms_jaccard_2", "train.generator_lr"
OWN_RATE = 2e-3  # of mle


def comparison(folder: Path, *overrides: str) -> Study:
    """A comparison of `mle` with itself, of which only the rate is tuned."""
    file = folder / "c.toml"
    file.write_text(
        '[study]\nname = "c"\nkind = "comparison"\nmetric = "eval/ms_jaccard_2"\nseeds = 2\n'
        'trials = 3\nsystems = ["mle", {system = "mle", label = "twin"}]\n'
        f'[study.budget]\nupdates = 20\n[study.space]\n"{RATE}" = true\n'
    )
    return load_study(file, overrides, registry(), resolve_file)


def trial(place: int, score: float, *, system: str = "mle", seed: int = 1000) -> Done:
    """The first trial has the published rate, each other one a rate of its own."""
    settings = {RATE: OWN_RATE if place == 0 else place * 1e-4}
    return Done(f"{system} · trial {place:03d}", seed, "ok", {METRIC: score}, settings,
                published=place == 0, proposal=place)  # fmt: skip


def rates(plan: Plan, system: str = "mle") -> set[float]:
    """The rates of a row's runs."""
    return {job.variant.config.train.generator_lr for job in plan.jobs
            if job.variant.name == system and job.level == "seed"}  # fmt: skip


def test_settings_with_more_tuning_seeds_come_first(tmp_path: Path) -> None:
    kind = comparison(tmp_path, "study.tuning_seeds=3", "study.trials=2").kind
    raced = [trial(0, score, seed=1000 + i) for i, score in enumerate((0.9, 0.2, 0.2))]
    done = [*raced, trial(1, 0.8)]  # worse than the first one on the first seed, so it left
    assert rates(kind.plan(done)) == {OWN_RATE}
    assert rates(kind.plan([raced[0], trial(1, 0.95), trial(1, 0.1, seed=1001)],
                           Limit(closed=True))) == {1e-4}  # fmt: skip


def every_trial(*scores: float) -> list[Done]:
    return [trial(place, score, system=system)
            for place, score in enumerate(scores) for system in ("mle", "twin")]  # fmt: skip


def test_a_closed_search_waits_for_trials_that_run(tmp_path: Path) -> None:
    kind, closed = comparison(tmp_path).kind, Limit(closed=True)
    done = every_trial(0.5, 0.6)
    running = Queued(running={("mle · trial 002", 1000)})
    assert not rates(kind.plan(done, closed, running)), "its settings may be the best"
    assert rates(kind.plan(done, closed, running), "twin") == {1e-4}
    assert kind.plan(done, closed, running).later == 2
    assert rates(kind.plan([*done, trial(2, 0.7)], closed)) == {2e-4}
    assert rates(kind.plan(done, closed)) == {1e-4}, "one that waits is dropped"


def test_a_row_keeps_the_settings_that_its_runs_have(tmp_path: Path) -> None:
    kind, more = comparison(tmp_path, "study.seeds=3").kind, Limit(trials=5)
    chosen = Queued(chosen={"mle": {RATE: 1e-4}, "twin": {}})
    done = every_trial(0.5, 0.6, 0.4)
    assert not kind.outdone(done, NO_LIMIT, Queued(chosen={"mle": {RATE: 1e-4}}))
    further = [*done, *every_trial(0.5, 0.6, 0.4, 0.9)[6:]]
    plan = kind.plan(further, more, chosen)
    assert (rates(plan), rates(plan, "twin")) == ({1e-4}, {OWN_RATE})
    assert [job.seed for job in plan.jobs if job.variant.name == "mle"] == [0, 1, 2]
    assert [line.partition(";")[0] for line in kind.outdone(further, more, chosen)] == [
        "mle keeps the settings of its runs, although mle · trial 003 is better",
        "twin keeps the settings of its runs, although twin · trial 003 is better",
    ]


@pytest.mark.parametrize("version", ["this", "earlier"])
def test_no_row_mixes_settings_when_trials_and_seeds_are_added(
    tmp_path: Path, version: str
) -> None:
    far = 'set={"train.generator_lr"=1e-5}'
    far_off = f'study.systems=[{{system="mle", {far}}}, {{system="mle", label="twin", {far}}}]'
    small = ("study.trials=2", "study.seeds=1", "study.sampler='random'", far_off)
    tracker, url = go(tmp_path, comparison(tmp_path, *small), training := Rates())
    if version == "earlier":
        load_queue("c", url).set_user_attr("chosen", {})
    more = comparison(tmp_path, *small, "study.seeds=2")
    assert grow("c", tracker, url, more)
    resume("c", url, more, Limit(trials=6))
    work("c", tracker, url, training, registry())
    assert len(training.names) == 2 * (6 + 2)
    for system in ("mle", "twin"):
        first, second = (training.rates[f"{system} · seed {seed}"] for seed in (0, 1))
        assert first == second
    assert outdone(load_queue("c", url), more), "of six trials another one is the best"


def test_a_field_that_no_system_has_is_named(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    head = ('[study]\nname = "c"\nkind = "comparison"\nbudget = { updates = 20 }\n'
            'systems = ["mle", "modern"]\n[study.space]\n')  # fmt: skip
    file.write_text(f'{head}"train.generator_lrs" = true\n"train.generator_lr" = true\n')
    with pytest.raises(InputError, match=r"study\.space\.train\.generator_lrs: no system has .*; "
                                         r"did you mean 'train\.generator_lr'"):  # fmt: skip
        load_study(file, [], registry(), resolve_file)
    file.write_text(f'{head}"train.generator_lr" = true\n"penalty.weight" = true\n')
    with pytest.raises(InputError, match=r"study\.space\.penalty\.weight: no system has"):
        load_study(file, [], registry(), resolve_file)
    file.write_text(f'{head}"train.generator_lr" = true\n"discriminator.dropout" = true\n')
    arms = load_study(file, [], registry(), resolve_file).kind.arms()
    assert [len(arm.space) for arm in arms] == [1, 2], "mle has no discriminator"


@pytest.mark.parametrize("system", systems())
def test_searches_can_tune_the_learning_rates_of_every_included_system(system: str) -> None:
    config = load(system, [])
    declared, own = dict(ranges(config)), config.flat()
    for key in ("train.generator_lr", "train.discriminator_lr"):
        assert declared[key].drawn(own[key]) == own[key], f"{key} = {own[key]} is outside"


class Budgets(Landscape):
    """Notes how many updates each run may make."""

    def __call__(self, config: Config | None, **given: Any) -> Any:
        """As `Landscape`."""
        assert config is not None
        self.updates = {**getattr(self, "updates", {}), given["labels"].name: config.train.updates}
        return super().__call__(config, **given)


def test_trials_can_have_a_budget_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        '[study]\nname = "c"\nkind = "comparison"\nmetric = "eval/ms_jaccard_2"\nseeds = 2\n'
        "trials = 3\nbudget = { updates = 40 }\ntrial_budget = { updates = 10 }\n"
        'systems = ["mle", {system = "mle", label = "twin"}]\n'
    )
    study = load_study(file, [], registry(), resolve_file)
    monkeypatch.setattr("experiments.estimate.estimate", lambda *_: Estimate(1.0, 0, "a guess"))
    for as_json in (True, False):
        show_plan(study, Limit(), MemoryTracker(tmp_path), as_json=as_json)
    plan = json.loads(capsys.readouterr().out.partition("}\n")[0] + "}")
    assert (plan["runs"], plan["seconds"]) == (2 * 3 + 2 * 2, 2 * 3 + 2 * 2 * 4)
    training = Budgets()
    go(tmp_path, study, training)
    assert {updates for name, updates in training.updates.items() if "trial" in name} == {10}
    assert {updates for name, updates in training.updates.items() if "trial" not in name} == {40}
    assert len(training.names) == plan["runs"]
    said = study.kind.describe()
    assert "3 trials (tpe) of 10 updates" in said
    assert "for tuning and 40 updates each" in said
    with pytest.raises(InputError, match="what budget counts, which counts updates"):
        load_study(file, ["study.trial_budget={seconds=5}"], registry(), resolve_file)
    with pytest.raises(InputError, match="what budget counts, which is missing"):
        load_study(FILE, ["study.trial_budget={seconds=5}"], registry(), resolve_file)
