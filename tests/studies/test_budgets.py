"""Budgets of tokens: as many in every run, whatever a study changes in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config import Config
from core.errors import InputError
from studies.definition import Study
from tests.studies.test_branch import plan as branch
from tests.studies.test_path import study as path
from tests.studies.test_search import plan as search
from tests.studies.test_studies import plan as ablation

TOKENS = 32_000
BUDGET = f"study.budget={{tokens={TOKENS}}}"


def generated(config: Config) -> int:
    return (config.train.updates or 0) * config.train.batch_size * config.model.length


def axes(text: str, *more: str) -> dict[str, Config]:
    """The configurations of a study with these axes, by the names of its rows."""
    study = ablation(BUDGET, f"study.axes={{{text}}}", *more)
    return {variant.name: variant.config for variant in study.variants}


def test_cells_that_change_the_batch_or_the_length_generate_as_many_tokens() -> None:
    found = axes('"train.batch_size"=[8,32], "model.length"=[20,10]')
    assert len(found) == 4
    assert {generated(config) for config in found.values()} == {TOKENS}
    assert {config.train.updates for config in found.values()} == {200, 400, 50, 100}


def test_systems_that_change_the_batch_generate_as_many_tokens_unless_they_say_how_long() -> None:
    small = 'system="mle", set={"train.batch_size"=8}'
    own = 'system="mle", label="own", set={"train.updates"=7, "train.batch_size"=8}'
    found = axes("sampling=['detached']", f"study.systems=[{{{small}}}, {{{own}}}]")
    assert generated(found["mle"]) == TOKENS
    assert found["own"].train.updates == 7


def test_an_axis_of_the_budget_itself_comes_after_the_budget() -> None:
    found = axes('"train.updates"=[3,4], "train.batch_size"=[8,16]')
    assert {config.train.updates for config in found.values()} == {3, 4}


@pytest.mark.parametrize("budget", [None, 6400])
def test_proposed_settings_get_as_many_tokens(budget: int | None) -> None:
    of_trials = [f"study.trial_budget={{tokens={budget}}}"] if budget else []
    (arm,) = search(BUDGET, *of_trials).kind.arms()
    for size in (16, 32):
        assert generated(arm.config({"train.batch_size": size})) == (budget or TOKENS)


def test_forks_that_change_the_batch_generate_as_many_tokens() -> None:
    half = '{label="half", set={"train.batch_size"=2}}'
    stop = '{label="stop", set={"train.updates"=0}}'
    study: Study = branch("study.budget={tokens=320}",
                          f'study.choices=[{{label="on"}}, {half}, {stop}]')  # fmt: skip
    updates = {label: config.train.updates for label, (config,) in study.kind.configs.items()}  # type: ignore[attr-defined]
    assert updates == {"on": 10, "half": 20, "stop": 0}


def test_systems_of_a_path_generate_as_many_tokens(tmp_path: Path) -> None:
    found = path(tmp_path, BUDGET)
    names = [each.name for each in found.kind.coordinates]  # type: ignore[attr-defined]
    assert "train.batch_size" in names
    assert "train.updates" not in names, "it follows from the batch size"
    assert {generated(variant.config) for variant in found.variants} == {TOKENS}


def test_a_batch_without_a_number_is_named() -> None:
    with pytest.raises(InputError, match=r"variant .*: train\.batch_size = 'many': must be"):
        axes('"train.batch_size"=[8,"many"]')
