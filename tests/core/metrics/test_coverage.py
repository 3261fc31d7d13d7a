"""The 95% intervals cover what they claim to: simulations with fixed seeds.

Each draws many samples of one source and counts how often the interval of a sample holds the mean
of all values: between 92% and 97%, within what so few draws can tell. More draws, other sources and
real captions: `python -m benchmarks.coverage`, with its table in docs/howto/metrics.md. The slow
ones are guarded between two long test runs by test_golden.py, which knows the same intervals of one
sample.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import numpy as np
import pytest
from scipy import stats

from core.metrics import diversity
from core.metrics.fed import fed
from core.metrics.intervals import Measure, of_repeats
from core.metrics.lm import reverse_lm
from core.metrics.mmd import mmd
from core.metrics.ngrams import Sentence
from core.metrics.oracle import oracle
from core.metrics.suite import Suite
from core.metrics.two_sample import c2st, nearest_neighbour
from core.text.grammar import grammar

DRAWS = 400
N = 300
LOW, HIGH = 0.92, 0.97
Found = dict[str, Measure]


def coverage(measured: list[Measure], target: float | None = None) -> float:
    values = np.array([m.value for m in measured], dtype=float)
    bounds = np.array([m.interval() for m in measured], dtype=float)
    true = values.mean() if target is None else target
    return float(((bounds[:, 0] <= true) & (true <= bounds[:, 1])).mean())


def simulate(draw: Callable[[np.random.Generator], Found], draws: int = DRAWS) -> dict[str, float]:
    rng = np.random.default_rng(0)
    found = [draw(rng) for _ in range(draws)]
    return {name: coverage([one[name] for one in found]) for name in found[0]}


def assert_covered(found: dict[str, float], draws: int = DRAWS) -> None:
    """None is outside the band by more than the draws leave open (95%)."""
    fewest = stats.binom.ppf(0.025, draws, LOW) / draws
    most = stats.binom.ppf(0.975, draws, HIGH) / draws
    outside = {name: share for name, share in found.items() if not fewest <= share <= most}
    assert not outside, found
    if len(found) > 1:
        assert LOW <= np.mean(list(found.values())) <= HIGH, found


@pytest.fixture(scope="module")
def pools() -> dict[str, list[list[str]]]:
    return {name: grammar(name).sample(40_000, 1) for name in ("easy", "default")}


def picked(pool: list[Sentence], n: int, rng: np.random.Generator) -> list[Sentence]:
    return [pool[i] for i in rng.integers(0, len(pool), n)]


OF_SAMPLES = ("novelty", "length", "distinct", "ngram_entropy", "bleu", "self_bleu", "ms_jaccard",
              "lm")  # fmt: skip


@pytest.mark.slow
def test_of_samples(pools: dict[str, list[list[str]]]) -> None:
    rng, pool = np.random.default_rng(1), pools["default"]
    suite = Suite(picked(pool, 1000, rng), picked(pool, 2000, rng))

    def draw(rng: np.random.Generator) -> Found:
        found = suite.measures(picked(pool, N, rng), OF_SAMPLES)
        # Fewer than a few repeats expected: see the two tests below, and the last one.
        rare = ("ms_jaccard_5", "distinct_4")
        return {metric: m for metric, m in found.items() if metric not in rare}

    assert_covered(simulate(draw, 150), 150)


def test_of_distinct_sentences_and_shares() -> None:
    weights = 1 / np.arange(1, 4001)
    weights /= weights.sum()

    def draw(rng: np.random.Generator) -> Found:
        drawn = [[str(i)] for i in rng.choice(len(weights), N, p=weights)]
        suite = Suite([["0"]], [[str(i)] for i in range(20)])
        return {"unique": diversity.unique(drawn), **suite.measures(drawn, ["copied"])}

    assert_covered(simulate(draw))


@pytest.mark.slow
def test_of_what_the_grammar_knows(pools: dict[str, list[list[str]]]) -> None:
    suite = Suite([["a"]], (), grammar("easy"))

    def draw(rng: np.random.Generator) -> Found:
        drawn = picked(pools["easy"], N, rng)
        broken = [s[::-1] if rng.random() < 0.3 else s for s in drawn]
        found = suite.measures(broken, ["oracle"])
        metrics = ("valid", "oracle_nll", "template_tv", "template_l2")
        return {metric: found[metric] for metric in metrics}

    assert_covered(simulate(draw))


@pytest.mark.slow
def test_of_the_mass_that_a_sample_covers(pools: dict[str, list[list[str]]]) -> None:
    def draw(rng: np.random.Generator) -> Found:
        return {"mass_covered": oracle(picked(pools["easy"], 1000, rng), source)["mass_covered"]}

    source = grammar("easy")
    assert_covered(simulate(draw, 150), 150)


@pytest.mark.slow
def test_of_the_longest_shared_ngrams(pools: dict[str, list[list[str]]]) -> None:
    suite = Suite(picked(pools["default"], 2000, np.random.default_rng(1)))

    def draw(rng: np.random.Generator) -> Found:
        found = suite.measures(picked(pools["default"], 600, rng), ["ms_jaccard"])
        return {"ms_jaccard_5": found["ms_jaccard_5"]}

    assert_covered(simulate(draw, 200), 200)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n"), [("easy", 500), ("default", 600)])
def test_of_few_repeats(pools: dict[str, list[list[str]]], name: str, n: int) -> None:
    """Most 4-grams and nearly all sentences stand once; repeats come a sentence at a time."""

    def draw(rng: np.random.Generator) -> Found:
        drawn = picked(pools[name], n, rng)
        *_, fours = diversity.levels(drawn)
        return {"distinct_4": diversity.distinct(fours, n), "unique": diversity.unique(drawn)}

    assert_covered(simulate(draw))


@pytest.mark.parametrize("rest", [0.003, 0.01, 0.05])
def test_of_a_collapsed_source(rest: float) -> None:
    """One sentence nearly always: a sample that shows nothing else does not claim certainty."""

    def draw(rng: np.random.Generator) -> Found:
        other = np.where(rng.random(N) < rest, rng.integers(1, 1_000_000, N), 0)
        return {"unique": diversity.unique([[str(i)] for i in other])}

    assert 0.92 <= simulate(draw)["unique"] <= 1


def test_over_sources_of_few_repeats_it_covers_95_percent() -> None:
    """A number that takes few values cannot be missed as often by every source; on the average
    over sources that expect half a repeat to fifteen it is. The truth is exact.
    """
    rng, n, covered = np.random.default_rng(0), 100, []
    for repeats in rng.uniform(0.5, 15, 1000):
        kinds = round(n * n / 2 / repeats)
        bounds = diversity.unique([[str(i)] for i in rng.integers(0, kinds, n)]).interval()
        assert bounds is not None
        covered.append(bounds[0] <= kinds * (1 - (1 - 1 / kinds) ** n) / n <= bounds[1])
    assert LOW <= np.mean(covered) <= HIGH


def test_of_almost_no_repeats_it_covers_more() -> None:
    """A number that is nearly always 0 or 1 cannot be missed one time in twenty."""

    def draw(rng: np.random.Generator) -> Found:
        return {"unique": diversity.unique([[str(i)] for i in rng.integers(0, 100_000, N)])}

    assert 0.95 <= simulate(draw)["unique"] <= 1


def test_repeats_one_by_one_have_the_mid_p_interval_of_poisson() -> None:
    for repeats in (0, 1, 5, 12):
        bounds = of_repeats(repeats, 1000, repeats, 1)
        assert bounds is not None
        low, high = (1 - bounds[1]) * 1000, (1 - bounds[0]) * 1000
        if repeats:
            assert stats.poisson.sf(repeats, low) + stats.poisson.pmf(repeats, low) / 2 == (
                pytest.approx(0.025)
            )
        assert stats.poisson.cdf(repeats, high) - stats.poisson.pmf(repeats, high) / 2 == (
            pytest.approx(0.025)
        )


@pytest.mark.slow
@pytest.mark.parametrize(("dimensions", "apart"), [(2, 0.4), (8, 0.0)])
def test_of_squared_distances(dimensions: int, apart: float) -> None:
    """Of equal distributions too, where all that scatters is of second order."""

    def draw(rng: np.random.Generator) -> Found:
        x, y = rng.normal(size=(2, 200, dimensions))
        x[:, 0] += apart
        x[:, 1] *= 1 + apart / 2
        return {"mmd": mmd(x, y), "fed": fed(x, y)}

    assert_covered(simulate(draw, 150), 150)


@pytest.mark.slow
def test_of_few_sentences_a_dimension() -> None:
    """Five and a half, with tails as heavy as those of embeddings of real captions."""

    def draw(rng: np.random.Generator) -> Found:
        x, y = rng.standard_t(6, size=(2, 120, 22))
        return {"fed": fed(x, y)}

    assert_covered(simulate(draw, 150), 150)


@pytest.mark.slow
def test_of_a_language_model_of_the_samples(pools: dict[str, list[list[str]]]) -> None:
    """Both the samples and the references are drawn anew."""
    pool = pools["easy"]

    def draw(rng: np.random.Generator) -> Found:
        return {"reverse_lm": reverse_lm(picked(pool, 300, rng), picked(pool, 150, rng))}

    assert_covered(simulate(draw, 150), 150)


@pytest.mark.slow
def test_of_neighbours(pools: dict[str, list[list[str]]]) -> None:
    pool = pools["default"]
    directions = np.random.default_rng(1).normal(size=(1000, 12))
    vocabulary = chain.from_iterable(grammar("default").words.values())
    words = {word: i for i, word in enumerate(sorted(vocabulary))}

    class BagOfWords:
        name = "bag"

        def __call__(self, sentences):  # type: ignore[no-untyped-def]
            return np.stack([directions[[words[w] for w in s]].mean(axis=0) for s in sentences])

    def draw(rng: np.random.Generator) -> Found:
        ours, theirs = picked(pool, 150, rng), picked(pool, 150, rng)
        longer = [max(pair, key=len) for pair in zip(ours, picked(pool, 150, rng), strict=True)]
        return {
            "same": nearest_neighbour(ours, theirs, BagOfWords()),
            "longer": nearest_neighbour(longer, theirs, BagOfWords()),
        }

    assert_covered(simulate(draw, 150), 150)


@pytest.mark.slow
def test_of_a_classifier(pools: dict[str, list[list[str]]]) -> None:
    def draw(rng: np.random.Generator) -> Found:
        ours, theirs = picked(pools["easy"], 100, rng), picked(pools["easy"], 100, rng)
        return {"c2st": c2st(ours, theirs)["c2st"]}

    assert_covered(simulate(draw, 150), 150)
