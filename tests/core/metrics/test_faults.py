"""Faults change what they say and conserve the rest; the divergence they plant is the exact one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest

from core.errors import InputError
from core.metrics.fault_sources import GrammarText, RealText, Source
from core.metrics.faults import FAULTS, REPEATED, planted
from core.metrics.ngrams import Sentence
from core.text.grammar import grammar
from core.text.pcfg import Grammar

N = 60
WORDS = ("a", "red", "old", "dog", "is", "on", "this", "small", "cat", "box")
LANGUAGE = grammar("easy")
TINY = Grammar(
    "S",
    {"S": [(3.0, ("A", "B")), (1.0, ("A",))]},
    {"A": {"a": 3.0, "b": 1.0}, "B": {"c": 2.0, "d": 1.0}},
)
TINY_LANGUAGE = [["a"], ["b"], ["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]]


def invented() -> list[Sentence]:
    rng = np.random.default_rng(3)
    return [[str(w) for w in rng.choice(WORDS, size=rng.integers(4, 9))] for _ in range(1500)]


SOURCES: Mapping[str, Source] = {
    "grammar": GrammarText(LANGUAGE),
    "real": RealText(invented(), N, "invented"),
}


def sample(source: Source) -> list[Sentence]:
    return source.real.draw(N, np.random.default_rng(1))


@pytest.mark.parametrize("where", SOURCES)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_seeded_keeps_the_number_and_does_nothing_at_dose_0(
    name: str, where: str
) -> None:
    source, fault = SOURCES[where], FAULTS[name]
    real = sample(source)
    copy = [list(sentence) for sentence in real]
    assert fault(real, 0.0, source, 5) == real
    changed = fault(real, 0.5, source, 5)
    assert fault(real, 0.5, source, 5) == changed != real
    assert len(changed) == N
    assert fault(real, 0.5, source, 6) != changed
    assert [list(sentence) for sentence in real] == copy
    assert fault([], 0.5, source, 5) == []


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if not fault.redraw])
def test_a_higher_dose_affects_the_same_sentences_and_more(name: str) -> None:
    source = SOURCES["grammar"]
    real = sample(source)
    texts = [FAULTS[name](real, dose, source, 5) for dose in (0.2, 0.6, 1.0)]
    low, middle, all_ = (
        {i for i, (a, b) in enumerate(zip(real, text, strict=True)) if a != b} for text in texts
    )
    assert low < middle < all_
    assert [texts[1][i] for i in low] == [texts[0][i] for i in low]
    if FAULTS[name].rewrite:
        assert len(middle) == round(0.6 * len(all_))


@pytest.mark.parametrize("where", SOURCES)
def test_rewriting_changes_what_it_says(where: str) -> None:
    source = SOURCES[where]
    real = sample(source)

    def pairs(name: str) -> list[tuple[Sentence, Sentence]]:
        changed = FAULTS[name](real, 1.0, source, 2)
        found = [(a, b) for a, b in zip(real, changed, strict=True) if a != b]
        assert len(found) > 5
        return found

    def places(old: Sentence, new: Sentence) -> list[int]:
        return [i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]

    for name in ("shuffled_words", "swapped_neighbours", "swapped_attributes"):
        assert all(Counter(old) == Counter(new) for old, new in pairs(name))
    for old, new in pairs("swapped_neighbours"):
        i, j = places(old, new)
        assert j == i + 1
    for old, new in pairs("swapped_attributes"):
        assert all(old[i] in source.adjectives for i in places(old, new))
    for old, new in pairs("agreement_errors"):
        (i,) = places(old, new)
        assert source.agreement[old[i]] == new[i]
    for old, new in pairs("truncation"):
        assert 0 < len(new) < len(old)
        assert [*new] == [*old][: len(new)]
    for old, new in pairs("inserted_words"):
        assert len(new) == len(old) + 1
        assert any([*new][:i] + [*new][i + 1 :] == [*old] for i in range(len(new)))


def test_what_becomes_of_the_grammar() -> None:
    source = SOURCES["grammar"]
    real = sample(source)
    assert not any(map(LANGUAGE.valid, FAULTS["agreement_errors"](real, 1.0, source, 2)))
    swapped = FAULTS["swapped_attributes"](real, 1.0, source, 2)
    assert [*map(LANGUAGE.template, swapped)] == [*map(LANGUAGE.template, real)]
    copies = {tuple(s) for s in source.training}
    assert all(tuple(s) in copies for s in FAULTS["training_copies"](real, 1.0, source, 2))
    repeated = FAULTS["repeats"](real, 1.0, source, 2)
    assert len({tuple(s) for s in repeated}) <= math.ceil(REPEATED * N)
    many = source.real.draw(400, np.random.default_rng(1))
    logs = [
        np.mean([*map(LANGUAGE.log_prob, FAULTS[name](many, 1.0, source, 2))])
        for name in ("low_temperature", "high_temperature")
    ]
    assert logs[0] > np.mean([*map(LANGUAGE.log_prob, many)]) > logs[1]
    flat = source.flattened(1.0).log_prob
    assert flat is not None
    assert flat(swapped) == pytest.approx(flat(real))
    by_template = {LANGUAGE.template(s): log for s, log in zip(many, flat(many), strict=True)}
    assert flat(many) == pytest.approx([by_template[LANGUAGE.template(s)] for s in many])


def test_lost_modes_are_lost() -> None:
    rng, shares = np.random.default_rng(0), LANGUAGE.template_probabilities
    law = SOURCES["grammar"].without_modes(0.5, rng, 0)
    seen = {LANGUAGE.template(s) for s in law.draw(3000, rng)}
    assert 0.35 < sum(shares[t] for t in seen if t is not None) <= 0.55
    text = SOURCES["real"]
    assert isinstance(text, RealText)
    left = text.without_modes(0.5, rng, N).draw(N, rng)
    everything = text.real.draw(10_000, rng)
    gone = {tuple(s) for s in everything} - {
        tuple(s) for s in text.without_modes(0.5, np.random.default_rng(0), N).draw(400, rng)
    }
    assert len(left) == N
    assert gone


def by_enumeration(p: list[float], q: list[float]) -> float:
    x, y = np.array(p), np.array(q)
    m = (x + y) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.nansum(x * np.log2(x / m)) + np.nansum(y * np.log2(y / m))) / 2


def test_the_planted_divergence_is_the_exact_one() -> None:
    source = GrammarText(TINY)
    p = [math.exp(TINY.log_prob(s)) for s in TINY_LANGUAGE]
    assert sum(p) == pytest.approx(1)
    a, b, c, d = 0.75, 0.25, 2 / 3, 1 / 3
    hot = [x ** (2 / 3) for x in (a, b, c, d, 0.75, 0.25)]
    a, b = hot[0] / (hot[0] + hot[1]), hot[1] / (hot[0] + hot[1])
    c, d = hot[2] / (hot[2] + hot[3]), hot[3] / (hot[2] + hot[3])
    two, one = hot[4] / (hot[4] + hot[5]), hot[5] / (hot[4] + hot[5])
    q = [one * a, one * b, two * a * c, two * a * d, two * b * c, two * b * d]
    (found,) = planted(FAULTS["high_temperature"], [1.0], source)
    assert found == pytest.approx(by_enumeration(p, q), rel=0.1)
    seen = Counter(map(tuple, source.training))
    shares = [seen[tuple(s)] / len(source.training) for s in TINY_LANGUAGE]
    (found,) = planted(FAULTS["training_copies"], [0.5], source)
    mixed = [(x + y) / 2 for x, y in zip(p, shares, strict=True)]
    assert found == pytest.approx(by_enumeration(p, mixed), rel=0.2)
    # Of a rewritten sentence of two words, none is in the language.
    (found,) = planted(FAULTS["swapped_neighbours"], [0.4], source)
    assert found == pytest.approx(by_enumeration([1, 0], [0.7, 0.3]), abs=0.01)
    assert planted(FAULTS["repeats"], [0.4], source) == [None]
    assert planted(FAULTS["repeats"], [0.4], SOURCES["real"]) == [None]


def test_a_planted_divergence_grows_from_0_to_at_most_1() -> None:
    doses = (0.01, 0.5, 1.0)
    for name in ("shuffled_words", "lost_modes", "training_copies"):
        found = planted(FAULTS[name], doses, SOURCES["grammar"])
        assert all(value is not None for value in found)
        assert found == sorted(found)  # type: ignore[type-var]
        assert 0 <= (found[0] or 0) < 0.02 < (found[-1] or 0) <= 1


def test_a_text_too_short_for_the_sample_is_refused() -> None:
    with pytest.raises(InputError, match=r"--n 400: few has 1,500 sentences, enough .* most 300"):
        RealText(invented(), 400, "few")
    assert len(RealText(invented(), 300, "few").real.draw(600, np.random.default_rng(0))) == 600
