"""Paths: coordinates that can be walked, orders that fit, attributions that add up."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError
from core.statistics import Difference
from experiments.loading import resolve_file
from studies.analysis.contrasts import Comparison
from studies.analysis.path import Node, _findings, _of_all, nodes_of, orders_within, shapley
from studies.definition import Study, load_study
from studies.leaderboard import Leaderboard, Row
from studies.plan import Limit
from studies.report import read, sections
from tests.conftest import ROOT
from tests.studies.test_studies import FakeTraining, start
from variants import registry

SMOKE = ROOT / "experiments" / "smoke" / "run.toml"
OTHER = """
[next_input]
name = "last_token"
[sampling]
name = "categorical"
[estimator]
name = "leave_one_out"
[objective]
name = "minimax"
[penalty]
name = "none"
[train]
batch_size = 8
"""


def study(folder: Path, *overrides: str) -> Study:
    (folder / "here.toml").write_text(SMOKE.read_text())
    base = SMOKE.read_text()
    for slot in ("next_input", "sampling", "estimator", "objective", "penalty", "train"):
        head, _, rest = base.partition(f"[{slot}]")
        base = head + ("[" + rest.partition("\n[")[2] if "\n[" in rest else "")
    (folder / "there.toml").write_text(base + OTHER)
    (folder / "p.toml").write_text(
        '[study]\nname = "p"\nkind = "path"\nfrom = "here.toml"\nto = "there.toml"\nseeds = 3\n'
        '[train]\nupdates = 5\n[study.groups]\ngame = ["objective", "penalty"]\n'
    )
    return load_study(folder / "p.toml", overrides, registry(), resolve_file)


def test_what_cannot_be_changed_alone_is_changed_together(tmp_path: Path) -> None:
    found = study(tmp_path)
    names = [each.name for each in found.kind.coordinates]  # type: ignore[attr-defined]
    assert "sampling + estimator" in names, "a score-function estimator needs drawn words"
    assert set(names) == {"next input", "train.batch_size", "game", "sampling + estimator"}
    assert len(found.variants) == 2**4
    assert [variant.name for variant in found.variants[:2]] == ["here", "there"]
    assert len({variant.config.config_hash() for variant in found.variants}) == 16
    assert "Every order" in found.kind.describe()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("study.contrasts=[{level='there', reference='here'}]",
         "study.contrasts: a path reports the contribution"),
        ("study.systems=['mle']", "'mle' is no end of the path; of a path it only changes "
         "settings of 'here' and 'there'"),
    ],
)  # fmt: skip
def test_keys_without_an_effect_are_refused(override: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        study(tmp_path, override)
    assert words in str(caught.value)


def test_systems_of_a_path_change_settings_of_its_ends(tmp_path: Path) -> None:
    small = "study.systems=[{system='here.toml', set={'train.batch_size'=4}}]"
    found = study(tmp_path, small)
    assert found.variants[0].config.train.batch_size == 4


def test_a_budget_of_systems_takes_the_orders_that_fit(tmp_path: Path) -> None:
    found = study(tmp_path, "study.nodes=9")
    assert 5 <= len(found.variants) <= 9
    assert "drawn in pairs" in found.kind.describe()
    assert found.kind.plan((), Limit()).later == 0


def test_orders_are_the_same_every_time_and_within_the_budget() -> None:
    for k, nodes in ((4, 16), (5, 20), (8, 60)):
        orders, complete = orders_within(k, nodes)
        assert (orders, complete) == orders_within(k, nodes)
        assert complete == (nodes >= 2**k)
        assert len({node for order in orders for node in nodes_of(order)}) <= nodes
        assert len(set(orders)) == len(orders) >= 2


def exact_shapley(k: int, score: Callable[[Node], float]) -> list[float]:
    """Shapley values by their weights over subsets: the definition."""
    found = []
    for i in range(k):
        others = [j for j in range(k) if j != i]
        total = 0.0
        for size in range(k):
            weight = math.factorial(size) * math.factorial(k - size - 1) / math.factorial(k)
            for subset in map(frozenset, itertools.combinations(others, size)):
                total += weight * (score(subset | {i}) - score(subset))
        found.append(total)
    return found


def board_of(
    scores: dict[Node, np.ndarray], failed: Collection[Node] = ()
) -> tuple[Comparison, dict[Node, str]]:
    """A study whose systems have these scores, ready to be compared, and their names. All runs of
    some have failed.
    """
    names = {node: "-".join(map(str, sorted(node))) for node in scores}
    rows = [
        Row(names[node], float(found.mean()), None, len(found), dict(enumerate(found.tolist())),
            {}, {}, "", {}, failed=frozenset(range(len(found)) if node in failed else ()))
        for node, found in scores.items()
    ]  # fmt: skip
    return Comparison(Leaderboard("s", "eval/m", True, "p", tuple(rows), 0, 0)), names


def test_attributions_are_shapleys_and_add_up() -> None:
    draws = np.random.default_rng(0)
    every = [frozenset(s) for n in range(5) for s in itertools.combinations(range(4), n)]
    scores = {node: draws.normal(size=6) for node in every}
    compare, names = board_of(scores)
    orders, complete = orders_within(4, 16)
    found = [shapley(compare, names, orders, i, complete=complete) for i in range(4)]
    exact = exact_shapley(4, lambda node: float(scores[node].mean()))
    assert [each.value for each in found] == pytest.approx(exact)
    gap = float((scores[frozenset(range(4))] - scores[frozenset()]).mean())
    assert sum(each.value for each in found) == pytest.approx(gap)
    some, whole = orders_within(4, 9)
    assert not whole
    drawn = [shapley(compare, names, some, i, complete=False) for i in range(4)]
    given = [shapley(compare, names, some, i, complete=True) for i in range(4)]
    assert sum(each.value for each in drawn) == pytest.approx(gap)
    assert all(a.error > b.error for a, b in zip(drawn, given, strict=True))


def test_the_whole_is_as_certain_as_its_parts_allow_if_systems_failed() -> None:
    draws = np.random.default_rng(3)
    every = [frozenset(s) for n in range(4) for s in itertools.combinations(range(3), n)]
    scores = {node: len(node) // 3 + 0.01 * draws.normal(size=3) for node in every}
    compare, names = board_of(scores, failed=every[:2])
    orders, complete = orders_within(3, 8)
    parts = [shapley(compare, names, orders, i, complete=complete) for i in range(3)]
    whole = compare.of(_of_all(names, {every[-1]: 1, every[0]: -1}))
    assert whole.value == pytest.approx(sum(each.value for each in parts))
    assert 0 < whole.error <= sum(each.error for each in parts)


def test_a_contribution_is_told_with_its_worth_alone_and_after_all_others() -> None:
    value, alone, last = (Difference.student(x, 0.01, 4.0, 3, paired=True) for x in (-0.5, 0, -1))
    (said,) = _findings(("here", "there"), {"x": value}, {"x": (alone, last)}, "eval/m")
    assert said.startswith("From here to there, **x** contributes -.5 [")
    assert said.endswith("to `eval/m`: 0 alone, -1 after all others.")


def test_coverage_of_an_attribution() -> None:
    draws = np.random.default_rng(2)
    orders, _ = orders_within(3, 8)
    worth = np.array([1.0, 0.0, -0.5])
    inside = []
    for _ in range(200):
        seed = draws.normal(size=5)
        compare, names = board_of({
            node: worth[list(node)].sum() + seed + 0.3 * draws.normal(size=5)
            for node in {node for order in orders for node in nodes_of(order)}
        })  # fmt: skip
        found = [shapley(compare, names, orders, i, complete=True) for i in range(3)]
        inside += [each.low <= w <= each.high for each, w in zip(found, worth, strict=True)]
    assert 0.92 <= np.mean(inside) <= 0.98


def test_a_path_study_says_what_each_coordinate_was_worth(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    tracker, _ = start(tmp_path / "store", study(tmp_path), FakeTraining())
    reading = read(tracker, "p")
    (section,) = sections(reading)
    assert section.key == "attribution"
    assert len(section.rows) == 4 + 1
    *parts, (_, total, *_) = section.rows
    scores = {row.variant: row.score for row in reading.board.rows}
    assert float(total) == pytest.approx(scores["there"] - scores["here"], abs=1e-4)
    assert sum(float(row[1]) for row in parts) == pytest.approx(float(total), abs=4e-4)
    assert section.figures["attribution"]().axes
    assert section.findings


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("study.groups={x=['generator']}", "do not differ in 'generator'"),
        ("study.to='here.toml'", "do not differ"),
        ("study.to='nothing'", "no system 'nothing'"),
        ("study.nodes=2", "study.nodes"),
    ],
)
def test_faults_of_a_path_are_named(override: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        study(tmp_path, override)
    assert words in str(caught.value)
