"""Runs as rows: filters, order, comparison."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from core.tracking.protocol import RunRecord
from experiments.listing import (
    SHOWN,
    as_rows,
    column,
    columns_of,
    compare,
    parse_filter,
    select,
    sort,
)

COLUMNS = ["run_id", "seed", "outcome", "variant", "eval/valid", "eval/self_bleu_4",
           "sampling.name"]  # fmt: skip


def record(number: int, valid: float | None, **tags: str) -> RunRecord:
    metrics = {"train/loss": 1.0, **({} if valid is None else {"eval/valid": valid})}
    given_tags = {"level": "seed", "seed": str(number), "outcome": "ok", **tags}
    params = {"sampling.name": "detached", "train.rate": "1e-4", "seed": str(number)}
    return RunRecord(f"{number:032x}", "s", f"v · seed {number}", "FINISHED", given_tags,
                     params, metrics, 1_700_000_000_000)  # fmt: skip


ROWS = as_rows(
    [
        record(0, 0.5, variant="a · b"),
        record(1, 0.75, variant="it's"),
        record(10, None, outcome="diverged"),
        record(3, 0.1, level="variant"),
    ]
)


def chosen(text: str) -> list[int]:
    clauses = parse_filter(text, COLUMNS)
    return [row["seed"] for row in ROWS if all(clause.holds(row) for clause in clauses)]


def test_a_row_holds_who_it_is_its_settings_and_its_numbers() -> None:
    assert [row["seed"] for row in ROWS] == [0, 1, 10], "variants and studies train nothing"
    assert ROWS[0]["started"] == "2023-11-14T22:13:20+00:00"
    assert (ROWS[0]["train.rate"], ROWS[0]["eval/valid"]) == ("1e-4", 0.5)
    assert "train/loss" not in ROWS[0]


def test_a_column_of_a_tag_is_the_tags_also_if_a_setting_has_its_name() -> None:
    run = record(0, 0.5, device="cpu (x86_64)")
    (row,) = as_rows([replace(run, params={**run.params, "device": "auto"})])
    assert row["device"] == "cpu (x86_64)"


def test_named_columns_need_no_sorting_column_and_no_runs() -> None:
    rows, shown = select(ROWS, None, "eval/valid", ["seed"])
    assert shown == ["run_id", "seed"]
    assert [row["seed"] for row in rows] == [1, 0, 10]
    assert select([], "eval/valid > 1", "eval/valid", ["seed", "eval/valid"]) == (
        [], ["run_id", "seed", "eval/valid"],
    )  # fmt: skip


def test_the_metric_that_ranks_a_study_is_shown() -> None:
    def study(metric: str) -> RunRecord:
        return RunRecord("a", "s", "s", "FINISHED", {"level": "study"}, {"metric": metric}, {}, 0)

    one = [study("eval/bleu_4"), record(0, 0.5)]
    assert columns_of(one) == [*SHOWN, "eval/bleu_4"]
    assert columns_of([study("test_best/bleu_4")]) == [
        *SHOWN, "eval_best/bleu_4", "test_best/bleu_4"
    ], "the second has no value for trials"  # fmt: skip
    assert columns_of([*one, study("eval/valid")]) == [*SHOWN, "eval/jsd_bound"]
    assert columns_of([record(0, 0.5)]) == [*SHOWN, "eval/jsd_bound"]


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("eval/valid > .5", [1]),
        ("eval/valid >= 5e-1", [0, 1]),
        ("metrics.eval/valid<.6 and outcome = ok", [0]),
        ("metrics.`eval/valid` < .6".replace("metrics.`eval/valid`", "`metrics.eval/valid`"), [0]),
        ("seed = 10", [10]),
        ("seed < 9 AND params.sampling.name = 'detached'", [0, 1]),
        ("outcome != ok", [10]),
        ("eval/valid != 7", [0, 1]),
        ("variant ~ '· B'", [0]),
        ('variant = "it\'s"', [1]),
        ("outcome > ok", []),
    ],
)
def test_filters(text: str, seeds: list[int]) -> None:
    assert chosen(text) == seeds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("eval/vaild > 1", "did you mean 'eval/valid'"),
        ("zzz = 1", "textgan runs --csv"),
        ("eval/valid >", "is not understood"),
        ("eval/valid > 1 and", "must follow 'and'"),
        ("eval/valid > 1 or seed = 2", "is not understood"),
        (" ", "write clauses such as"),
        ("", "is empty"),
    ],
)
def test_a_filter_that_is_none_gets_words(text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_filter(text, COLUMNS)
    assert words in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_a_filter_or_gets_words(text: str) -> None:
    try:
        clauses = parse_filter(text, COLUMNS)
    except InputError as error:
        assert "--" in str(error)
    else:
        assert all(clause.holds(row) in (True, False) for clause in clauses for row in ROWS)


def test_metrics_sort_best_first_and_what_is_missing_last() -> None:
    assert [row["seed"] for row in sort(ROWS, "eval/valid")] == [1, 0, 10]
    assert [row["seed"] for row in sort(ROWS, "seed")] == [0, 1, 10], "as numbers"
    assert [row["outcome"] for row in sort(ROWS, "outcome")] == ["diverged", "ok", "ok"]
    assert column("tags.outcome", COLUMNS, "--sort") == "outcome"


def test_a_comparison_shows_what_differs() -> None:
    other = as_rows([record(0, 0.9)])[0] | {"sampling.name": "gumbel_softmax", "new": "1"}
    found = compare([ROWS[0], other])
    assert found["differences"] == {
        "sampling.name": ["detached", "gumbel_softmax"], "new": [None, "1"],
    }  # fmt: skip
    assert found["metrics"] == {"eval/valid": [0.5, 0.9]}
