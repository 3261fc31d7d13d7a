"""Two studies compared: partners, what differs between them, and what is never subtracted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from core.statistics import difference
from core.tracking.memory import MemoryTracker
from experiments.study_output import show_compared
from studies.adaptive import Looks
from studies.compared import compare, most_looks
from studies.leaderboard import leaderboard, statistics
from studies.plan import Limit
from studies.running.execute import begin, work
from studies.running.storage import storage_url
from tests.studies.test_search import Landscape, go
from tests.studies.test_search import plan as search
from tests.studies.test_studies import plan
from variants import registry

SMALL = ("study.axes.next_input=['noise']", "study.axes.noise_mapping=['full']")
GOOD, BAD = "noise · gumbel_softmax · full", "noise · detached · full"
SIGNATURE = "textgan|v:1|metrics:0|n:{n}|refs:50:{refs}|tok:words"
Made = dict[str, Any]


def add(
    tracker: MemoryTracker, name: str, *overrides: str, n: int = 50, refs: str = "ab", tags: Made
) -> None:
    """A study of two variants and three seeds whose runs have ended, seed by seed a bit better."""
    study = plan(*SMALL, "train.updates=20", *overrides, "study.seeds=3", f"study.name='{name}'")
    begin(study, name, tracker, storage_url(tracker), "textgan study x.toml")
    for variant in study.variants:
        for seed in range(3):
            own = {"level": "seed", "variant": variant.name, "seed": str(seed), "device": "cpu",
                   "signature": SIGNATURE.format(n=n, refs=refs), "git_commit": "a1",
                   **tags}  # fmt: skip
            config = variant.config.model_copy(update={"seed": seed})
            record = tracker.start_run(name, "run", params=config.flat(), tags=own)
            score = 0.3 + 0.01 * seed * config.train.batch_size / 8
            record.log_metrics({study.table.metric: score}, 20)
            record.finish("ok")


@pytest.fixture
def store(tmp_path: Path) -> MemoryTracker:
    tracker = MemoryTracker(tmp_path)
    add(tracker, "one", tags={})
    return tracker


def partners(document: Made) -> list[tuple[str, str]]:
    return [(each["a"], each["b"]) for each in document["compared"]]


def test_the_difference_is_welchs_and_the_setting_that_differs_is_named(
    store: MemoryTracker,
) -> None:
    add(store, "two", "train.batch_size=16", tags={"git_commit": "b2"})
    document = compare(store, "one", "two")
    assert (document["studies"], document["not_compared"]) == (["one", "two"], [])
    assert partners(document) == [(BAD, BAD), (GOOD, GOOD)]
    first = document["compared"][0]
    assert first["differs"] == {"train.batch_size": ("8", "16")}, "settings before the commit"
    assert first["scores"] == pytest.approx([0.31, 0.32])
    rows = [leaderboard(store, study).rows[0] for study in ("one", "two")]
    expected = difference(statistics(rows), {0: 1.0, 1: -1.0}, 3)
    assert (first["low"], first["high"], first["p"]) == pytest.approx(
        (*expected.ends, expected.p), abs=1e-12
    )
    assert first["p_adjusted"] == pytest.approx(2 * expected.p)


def test_the_terminal_shows_rows_side_by_side(
    store: MemoryTracker, capsys: pytest.CaptureFixture[str]
) -> None:
    add(store, "two", "train.batch_size=16", tags={})
    add(store, "three", "train.updates=30", tags={})
    show_compared(compare(store, "one", "two"))
    shown = capsys.readouterr().out
    assert "eval/ms_jaccard_2: one minus two" in shown
    (line,) = (each for each in shown.splitlines() if each.startswith(BAD))
    assert re.split(r"\s{2,}", line.strip())[1:] == [
        "0.3100", "0.3200", "-0.0100", "-0.0516 to +0.0316", "0.992", "undecided",
        "train.batch_size (8, 16)",
    ]  # fmt: skip
    show_compared(compare(store, "one", "three"))
    assert "the budget differs in train.updates (20, 30)" in capsys.readouterr().out


def test_without_another_setting_what_the_runs_were_made_with_is_named(
    store: MemoryTracker,
) -> None:
    add(store, "two", tags={"git_commit": "b2"})
    for each in compare(store, "one", "two")["compared"]:
        assert each["differs"] == {"git_commit": ("a1", "b2")}
        assert each["difference"] == 0
    add(store, "three", tags={})
    same = compare(store, "one", "three")["compared"]
    assert [each["differs"] for each in same] == [{}, {}]


def test_rows_with_the_same_settings_are_partners_whatever_their_names(
    store: MemoryTracker,
) -> None:
    """The only row of the other study has another name, and the settings of GOOD."""
    add(
        store, "two", 'study.axes={"train.updates"=[20]}', 'sampling.name="gumbel_softmax"', tags={}
    )
    document = compare(store, "one", "two")
    assert partners(document) == [(GOOD, "updates=20")]
    assert document["not_compared"] == [
        {"study": "one", "variant": BAD, "reason": "no row with its settings or its name"}
    ]


@pytest.mark.parametrize(
    ("overrides", "made", "reason"),
    [
        ((), {"refs": "cd"}, "the signature of the score differs in refs (50:ab, 50:cd)"),
        ((), {"n": 60}, "the signature of the score differs in n (50, 60)"),
        (("train.updates=30",), {}, "the budget differs in train.updates (20, 30)"),
        (("study.metric='eval/bleu_2'",), {}, "different metrics (eval/ms_jaccard_2, eval/bleu_2)"),
    ],
)
def test_rows_with_another_score_or_budget_are_listed_and_not_subtracted(
    store: MemoryTracker, overrides: tuple[str, ...], made: Made, reason: str
) -> None:
    add(store, "two", *overrides, **made, tags={})
    document = compare(store, "one", "two")
    assert document["compared"] == []
    assert [(each["study"], each["variant"]) for each in document["not_compared"]] == [
        ("one", BAD), ("one", GOOD), ("two", BAD), ("two", GOOD),
    ]  # fmt: skip
    assert all(reason in each["reason"] for each in document["not_compared"])


def test_a_score_without_a_signature_is_not_subtracted(store: MemoryTracker) -> None:
    add(store, "two", tags={})
    for run in store._runs.values():
        if run.experiment == "two":
            run.tags.pop("signature", None)
    document = compare(store, "one", "two")
    reasons = {each["reason"] for each in document["not_compared"]}
    assert reasons == {"a score without a signature, by an older version"}


def test_equal_budgets_of_tokens_are_equal_whatever_the_updates(store: MemoryTracker) -> None:
    tokens = "study.budget={tokens=3200}"
    add(store, "two", tokens, tags={})
    add(store, "three", tokens, "train.batch_size=16", tags={})
    found = compare(store, "two", "three")
    assert not found["not_compared"]
    assert found["compared"][0]["differs"]["train.updates"] == ("20", "10")


def test_another_number_of_trials_is_another_budget_wherever_it_was_given(tmp_path: Path) -> None:
    tracker, url = go(tmp_path, tuned := search("study.trials=3", "study.pruner='none'"),
                      Landscape())  # fmt: skip
    begin(tuned, "fewer", tracker, url, "textgan study x.toml --trials 2", Limit(trials=2))
    work("fewer", tracker, url, Landscape(), registry())
    for run in tracker._runs.values():
        run.tags["signature_test"] = SIGNATURE.format(n=50, refs="ab")
    document = compare(tracker, "search_smoke", "fewer")
    reasons = {each["reason"] for each in document["not_compared"]}
    assert "the budget differs in study.trials (3, 2)" in reasons


def test_of_two_adaptive_studies_the_one_with_more_looks_counts() -> None:
    few, many = Looks(5, 0.02), Looks(20, 0.02)
    assert [most_looks(few, many), most_looks(many, few)] == [many, many]
    assert [most_looks(None, few), most_looks(None, None)] == [few, None]


def test_studies_that_cannot_be_compared_are_refused(store: MemoryTracker) -> None:
    add(store, "two", 'study.axes={"train.updates"=[30]}', tags={})
    with pytest.raises(InputError, match="'one' and 'two' have no common row"):
        compare(store, "one", "two")
    with pytest.raises(InputError, match="are the same study; give two"):
        compare(store, "one", "one")
    with pytest.raises(InputError, match="no study 'three'; known: one, two"):
        compare(store, "one", "three")
