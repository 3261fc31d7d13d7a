"""Contrasts named in the file, whole systems beside the variants, budgets that are shared."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InputError
from experiments.loading import resolve_file
from studies.analysis.contrasts import effects
from studies.analysis.effects import choices
from studies.definition import from_definition, load_study
from studies.report import read, sections
from tests.studies.test_studies import FILE, FakeTraining, plan, start
from variants import registry

NAMED = "study.contrasts=[{axis='sampling', level='gumbel_softmax', reference='detached'}]"


def test_named_contrasts_are_a_family_of_their_own(tmp_path: Path) -> None:
    tracker, _ = start(tmp_path, plan("study.seeds=3", NAMED), FakeTraining())
    reading = read(tracker, "design_axes_smoke")
    found = effects(reading.board, reading.table.contrasts)
    assert [effect.named for effect in found] == [True] + 4 * [False]
    assert found[0].title == "sampling: gumbel_softmax - detached"
    alone = effects(reading.board)
    same = next(effect for effect in alone if effect.axis == "sampling")
    assert found[0].difference.p == same.difference.p
    assert found[0].adjusted < same.adjusted, "one named contrast pays for itself alone"
    section, beside = sections(reading)
    assert beside.key == "interactions"
    (alone_section,) = choices(reading)
    assert section.rows == alone_section.rows
    assert len(section.rows) == 5
    assert "first 1 contrasts were planned" in section.explanation
    assert "the effect of a seed on all rows is removed" in section.explanation
    assert section.figures["effects"]().axes


@pytest.mark.parametrize(
    ("contrast", "words"),
    [
        ("{axis='samplings', level='a', reference='b'}", "no axis 'samplings'"),
        ("{axis='sampling', level='gumbel', reference='detached'}", "no level 'gumbel'"),
        ("{level='mle', reference='detached'}", "no variant 'mle'"),
        ("{level='mle'}", "study.contrasts"),
    ],
)
def test_contrasts_of_what_is_not_there_are_refused(contrast: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        plan(f"study.contrasts=[{contrast}]")
    assert words in str(caught.value)


def test_whole_systems_share_what_makes_rows_comparable(tmp_path: Path) -> None:
    study = load_study(
        FILE,
        ["study.systems=['mle', {system='mle', label='mle slow', set={'train.batch_size'=32}}]",
         "study.contrasts=[{level='mle', reference='mle slow'}]"],
        registry(),
        resolve_file,
    )  # fmt: skip
    rows = {variant.name: variant for variant in study.variants}
    assert len(rows) == 14
    mle, slow = rows["mle"].config, rows["mle slow"].config
    assert (mle.schedule.name, mle.generator.name) == ("mle", "transformer")
    assert (mle.train.updates, mle.model.length, mle.evaluation.every) == (10, 20, 10)
    assert (mle.train.generator_lr, slow.train.batch_size) == (2e-3, 32)
    assert from_definition(study.definition(), registry()) == study
    tracker, _ = start(tmp_path, study, FakeTraining())
    board = read(tracker, "design_axes_smoke").board
    assert {row.variant for row in board.rows if not row.cell} == {"mle", "mle slow"}
    found = effects(board, study.table.contrasts)
    assert (found[0].title, len(found)) == ("mle - mle slow", 1 + 5)


def test_a_budget_replaces_every_rows_own() -> None:
    study = load_study(
        FILE, ["study.systems=['mle']", "study.budget={seconds=30}"], registry(), resolve_file
    )
    assert {(v.config.train.updates, v.config.train.minutes) for v in study.variants} == {
        (None, 0.5)
    }
    study = load_study(
        FILE, ["study.systems=['mle']", "study.budget={cpu_seconds=30}"], registry(), resolve_file
    )
    assert {
        (v.config.train.updates, v.config.train.minutes, v.config.train.clock)
        for v in study.variants
    } == {(None, 0.5, "cpu")}
    study = load_study(
        FILE, ["study.systems=['mle']", "study.budget={tokens=32000}"], registry(), resolve_file
    )
    spent = {v.config.train.updates: v.config.train.batch_size for v in study.variants}
    assert spent == {200: 8, 25: 64}
    with pytest.raises(InputError, match="give one of seconds, cpu_seconds, updates, tokens"):
        plan("study.budget={seconds=3, updates=4}")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("['nothing']", "no system 'nothing'"),
        ("['mle', 'mle']", "twice"),
        ("[{system='mle', set={'train.batch_sizes'=3}}]", "did you mean 'batch_size'"),
    ],
)
def test_faults_of_systems_are_named(given: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        load_study(FILE, [f"study.systems={given}"], registry(), resolve_file)
    assert words in str(caught.value)
