"""The judge and its bound of the Jensen-Shannon divergence."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from core.metrics import classifiers, judge
from core.metrics.classifiers import Split, language_models
from core.metrics.judge import FEWEST, FOLDS, LARGEST, bound, jsd_bound, judged
from core.metrics.suite import Suite
from core.text.grammar import grammar

EASY = grammar("easy")
N = 250


def drawn(seed: int, count: int = N) -> list[list[str]]:
    return EASY.sample(count, seed)


def shuffled(text: list[list[str]]) -> list[list[str]]:
    rng = random.Random(0)
    return [rng.sample(sentence, len(sentence)) for sentence in text]


def test_real_text_is_at_or_below_zero_and_shuffled_words_far_above() -> None:
    references = drawn(0)
    real, other = jsd_bound(drawn(1), references), jsd_bound(shuffled(drawn(1)), references)
    assert real.value is not None
    assert other.value is not None
    assert -0.1 < real.value < 0.02
    assert other.value > 0.2
    changes = other.by_reference()
    assert changes is not None
    assert changes.shape == (N,)
    low, high = other.interval() or (0.0, 0.0)
    assert 0.1 < low < other.value < high <= 1.1


def test_a_reference_that_raises_the_value_has_a_positive_change() -> None:
    """As those of the other metrics: the value less that without the reference."""
    bits = np.random.default_rng(0).normal(size=40)
    found, ours, theirs = bound(bits, np.zeros(40), np.arange(40)), bits[:20], bits[20:]
    without = [(ours.mean() + np.delete(theirs, i).mean()) / 2 for i in range(20)]
    assert found.by_reference() == pytest.approx(bits.mean() - np.array(without))


def test_with_an_oracle_the_judge_finds_what_no_text_shows() -> None:
    """Sentences one word off: 250 of them teach the judge no grammar, the oracle tells at once."""
    rng = random.Random(0)
    wrong = [list(sentence) for sentence in drawn(1)]
    for sentence in wrong:
        sentence[rng.randrange(len(sentence))] = rng.choice(wrong)[0]
    wrong = [each for each in wrong if not EASY.valid(each)]
    references = drawn(0, len(wrong))
    plain, told = jsd_bound(wrong, references), jsd_bound(wrong, references, EASY)
    assert told.value is not None
    assert plain.value is not None
    assert told.value > max(0.8, plain.value + 0.1)


def test_equal_on_every_call_and_leaves_the_callers_random_numbers_and_threads() -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    first = judged(drawn(1, 100), drawn(0, 100))[0]
    torch.rand(3)
    torch.set_num_threads(2)
    assert np.array_equal(judged(drawn(1, 100), drawn(0, 100))[0], first)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    torch.set_rng_state(state)
    judged(drawn(1, 100), drawn(0, 100))
    assert torch.equal(torch.get_rng_state(), state)


def test_equal_at_sizes_where_the_network_reads_too(monkeypatch: pytest.MonkeyPatch) -> None:
    without = judged(drawn(1, 100), drawn(0, 100))[0]
    monkeypatch.setattr(judge, "NETWORK_FROM", 100)
    monkeypatch.setattr(classifiers, "UPDATES", 12)
    monkeypatch.setattr(judge, "PRICE", 0.0)
    state = torch.get_rng_state()
    first = judged(drawn(1, 100), drawn(0, 100))[0]
    torch.rand(3)
    assert np.array_equal(judged(drawn(1, 100), drawn(0, 100))[0], first)
    assert not np.array_equal(first, without)
    torch.set_rng_state(state)


def test_a_classifier_that_gains_less_than_its_price_has_no_weight() -> None:
    """Logits of one classifier that knows the label and of one that guesses."""
    rng = np.random.default_rng(0)
    real = np.arange(400) % 2 == 0
    knows, guesses = np.where(real, 2.0, -2.0), rng.normal(size=400)
    weights = judge._weights(np.stack([knows, guesses]), real)
    assert weights[0] == pytest.approx(judge.MOST_WEIGHT)
    assert weights[1] < 0.1
    assert judge._weights(guesses[None], real) == pytest.approx(0, abs=0.02)


def test_language_models_describe_training_sentences_as_they_describe_new_ones() -> None:
    """Each part by models of the others. So where nothing differs, nothing is claimed."""
    text = [f"{i} a{i % 7} b{i % 5}".split() for i in range(400)]
    real = np.arange(400) % 2 == 0
    split = Split(np.arange(300), np.arange(300, 350), np.arange(350, 400))
    logits = language_models([text], real, np.arange(400), split)
    assert logits.shape == (100,)
    assert np.abs(logits).max() < 2


def test_no_sentence_costs_more_than_the_limit() -> None:
    bits = judged(shuffled(drawn(1, 100)), drawn(0, 100))[0]
    assert bits.shape == (200,)
    assert bits.max() <= 1
    assert bits.min() >= 1 - (judge.LIMIT + 0.01) / np.log(2)


def test_near_duplicates_stay_in_one_fold_and_repetition_does_not() -> None:
    base = ["the", "small", "cat", "sees", "a", "red", "dog"]
    near = [base, base[:-1], [*base, "now"], ["a", *base[1:]]]  # equal, missing, added, other
    far = ["the", "small", "dog", "sees", "a", "red", "cat"]
    short = [["no"], ["yes"]]
    repeated = [["again", "and", "again"]] * (LARGEST + 1)
    group = judge._groups([*near, far, *short, *repeated])
    assert len(set(group[:4])) == 1
    assert len(set(group)) == 1 + 1 + 2 + len(repeated)
    real = np.arange(len(group)) % 2 == 0
    fold = judge._folds(real, group, np.random.default_rng(0))
    assert len(set(fold[:4])) == 1
    assert set(fold) == set(range(FOLDS))


def test_folds_are_balanced() -> None:
    real = np.repeat([False, True], 300)
    fold = judge._folds(real, np.arange(600), np.random.default_rng(0))
    assert [int(real[fold == k].sum()) for k in range(FOLDS)] == [100, 100, 100]
    assert [int((fold == k).sum()) for k in range(FOLDS)] == [200, 200, 200]


def test_the_interval_averages_the_standard_errors_of_the_folds() -> None:
    rng = np.random.default_rng(0)
    bits, fold = rng.normal(0.3, 1.0, 3000), np.arange(3000) % FOLDS
    low, high = judge.bounds(bits, fold, np.arange(3000)) or (0.0, 0.0)
    error = np.mean([bits[fold == k].std(ddof=1) / np.sqrt(1000) for k in range(FOLDS)])
    assert (high - low) / 2 == pytest.approx(1.9607 * error, rel=1e-3)
    # Groups of equal values: as many independent values as groups.
    twice = judge.bounds(np.repeat(bits, 2), np.repeat(fold, 2), np.repeat(np.arange(3000), 2))
    assert twice == pytest.approx((low, high), rel=1e-3)


@pytest.mark.parametrize(
    "samples",
    [
        [[]] * 100,
        [["a"]] * 100,
        [["<unk>", "<s>", "nll 3"]] * 100,
        [["w"] * 300] * 100,
        drawn(0, 100),
    ],
    ids=["empty", "one token", "specials", "long", "the references"],
)
def test_odd_texts_have_a_value(samples: list[list[str]]) -> None:
    value = jsd_bound(samples, drawn(0, 100)).value
    assert -8 < (value or 0.0) <= 1
    assert value is not None


def test_a_suite_measures_it_without_an_oracle_and_training_text() -> None:
    found = Suite(drawn(0, 120)).measures(drawn(1, 100), ["jsd_bound"])["jsd_bound"]
    assert found.value is not None
    assert (found.samples, found.references) == (100, 100)


def test_too_few_sentences_have_none_and_a_reason() -> None:
    few = jsd_bound(drawn(1, FEWEST - 1), drawn(0, FEWEST - 1))
    assert few.value is None
    assert str(FEWEST) in few.reason


@pytest.mark.slow
def test_the_lower_limit_seldom_exceeds_the_divergence_of_equal_texts() -> None:
    """More repeats, and texts that differ by a known amount: python -m benchmarks.judge."""
    found = [jsd_bound(drawn(2 * i), drawn(2 * i + 1)) for i in range(12)]
    limits = [each.interval() for each in found]
    assert sum(limit is not None and limit[0] > 0 for limit in limits) <= 1
    assert -0.03 < float(np.mean([each.value for each in found if each.value is not None])) < 0.005
