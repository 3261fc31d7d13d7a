"""What the source of a corpus knows of a sample, exactly.

Of the grammar:

`valid`: share of sentences that the grammar can make; higher is better. `oracle_nll`: mean
-log P(sentence) in nats of the valid ones, to be read beside the entropy H of the grammar: above H
the sample is too rare, below it the sample repeats what is likely (collapse), so it is neither
higher nor lower that is better but nearness to H. `template_tv`: total variation distance between
the templates (tag sequences) of the sample, invalid sentences as one more template, and the
grammar's; lower is better, 0 to 1; a finite sample of the grammar itself is above 0.
`mass_covered`: probability, under the grammar, of the set of valid sentences that the sample holds,
each once. Higher is better, 0 to 1; it grows with the sample, and is small for any sample of a
language with many sentences: compare equal sizes, beside a sample of the grammar itself. It has an
interval only where no few sentences make up most of it.

Two versions of these do not depend on the sample's size in expectation. `template_l2` is the
squared L2 distance of the templates' shares from their probabilities, sum_t (q_t - p_t)^2 with
invalid sentences as one more template, without bias: the mean of [x = y] - p_x - p_y + sum_t p_t^2
over pairs of sentences (Hoeffding 1948). Lower is better; it is about 0 for the grammar itself, and
can be negative. `mass_covered_ratio` is `mass_covered` divided by its expectation for as many
sentences of the grammar (`Grammar.expected_mass`). It is about 1 for the grammar itself, lower if
sentences repeat or are invalid, and above 1 for a sample that lists likely sentences.

Of SeqGAN's random LSTM (Yu et al. 2017): `valid` is the share of sentences of its length in its
words (a generator may end early, or draw a word of ours such as `<unk>`); `oracle_nll` is
NLL_oracle as their code computes it and their tables print it, the mean of -log P in nats over the
words of the valid sentences. Uniform words have about 11.3, the oracle's own text about 5.8
(`entropy`).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from core.metrics import intervals
from core.metrics.intervals import Bounds, Measure
from core.metrics.ngrams import Text, numbered
from core.text.oracles import LstmOracle, Oracle
from core.text.pcfg import Grammar

SPREAD = 50  # sentences of equal probability, for a mass that no few of them decide


def oracle(sentences: Text, source: Oracle) -> dict[str, Measure]:
    """Score a sample under the source it should have learnt; what is undefined is left out."""
    if not sentences:
        return {}
    if isinstance(source, LstmOracle):
        return _under_lstm(sentences, source)
    return _under_grammar(sentences, source)


def _under_lstm(sentences: Text, source: LstmOracle) -> dict[str, Measure]:
    """There are no templates, and the mass of a sample is nothing to speak of."""
    valid = np.asarray(source.valid(sentences), dtype=bool)
    found = {"valid": intervals.share_of(valid)}
    kept = [sentence for sentence, whole in zip(sentences, valid, strict=True) if whole]
    if kept:
        found["oracle_nll"] = intervals.mean_of(np.asarray(source.nll(kept), dtype=float))
    return found


def _under_grammar(sentences: Text, grammar: Grammar) -> dict[str, Measure]:
    logs = np.array([grammar.log_prob(sentence) for sentence in sentences])
    valid = logs > -math.inf
    templates = [grammar.template(sentence) for sentence in sentences]
    real = grammar.template_probabilities
    of_template = _seen(templates, [real.get(template or (), 0.0) for template in templates])
    mass = _mass(_seen([tuple(s) for s in sentences], np.exp(logs).tolist()))
    found = {
        "valid": intervals.share_of(valid),
        "template_tv": _variation(of_template),
        "template_l2": _squared(of_template, sum(p**2 for p in real.values())),
        "mass_covered": mass,
        "mass_covered_ratio": _ratio(mass, grammar.expected_mass(len(sentences))),
    }
    if valid.any():
        found["oracle_nll"] = intervals.mean_of(-logs[valid])
    return found


@dataclass(frozen=True)
class _Seen:
    """Things of a sample: which each sentence is, how often each occurs, its probability."""

    which: np.ndarray  # (sentences,)
    count: np.ndarray  # (things,)
    probability: np.ndarray  # (things,), 0 for what the grammar cannot make


def _seen(things: Sequence[Hashable], probabilities: Sequence[float]) -> _Seen:
    which, numbers = numbered(things)
    probability = np.zeros(len(numbers))
    probability[which] = probabilities
    return _Seen(which, np.bincount(which, minlength=len(numbers)), probability)


def _variation(seen: _Seen) -> Measure:
    """Half of sum |share in the sample - probability|; what is never shown adds its whole."""
    n, p, count = len(seen.which), seen.probability, seen.count
    absent = max(0.0, 1.0 - float(p.sum()))
    value = float(np.abs(count / n - p).sum() + absent) / 2

    def bounds() -> Bounds:
        fewer = max(n - 1, 1)
        had = np.abs(count / fewer - p)
        change = np.abs((count - 1) / fewer - p) - had
        without = (had.sum() + absent + change[seen.which]) / 2
        bend = (np.abs(count / n - p) - 2 * np.abs((count - 1) / n - p)
                + np.abs((count - 2) / n - p)) / 2  # fmt: skip
        twice = intervals.pairwise(np.arange(n), seen.which, bend, n)
        once = intervals.jackknife(without - value)
        return intervals.around(value, intervals.interacting(once, twice), n)

    return Measure(value, n, 0, bounds)


def _squared(seen: _Seen, whole: float) -> Measure:
    """Sum of (q - probability)^2 without bias, `whole` the sum of all squared probabilities. Its
    interval: that of a U-statistic of order two, which is degenerate where q is the probability.
    """
    n, p, count = len(seen.which), seen.probability, seen.count
    if n < 2:
        return Measure(None, n, 0, reason="needs two sentences")
    share = count / n
    pairs = float((count * (count - 1)).sum()) / (n * (n - 1))
    value = pairs - 2 * float((share * p).sum()) + whole

    def bounds() -> Bounds:
        triples = float((count * (count - 1) * (count - 2)).sum()) / (n * (n - 1) * max(n - 2, 1))
        first = 4 * float((share - p)[seen.which].var()) / n
        second = 2 * max(pairs - 2 * triples + pairs**2, 0.0) / (n * (n - 1))
        plain = float(((share - p) ** 2 - p**2).sum()) + whole
        return intervals.squared_distance(value, plain, first, second, n)

    return Measure(value, n, 0, bounds)


def _ratio(mass: Measure, expected: float) -> Measure:
    """Mass covered, by its expectation."""

    def bounds() -> Bounds:
        found = mass.interval()
        return found and (found[0] / expected, found[1] / expected)

    value = None if mass.value is None else mass.value / expected
    return Measure(value, mass.samples, 0, bounds)


def _mass(seen: _Seen) -> Measure:
    """Probability of the set of things seen."""
    n, p = len(seen.which), seen.probability
    value = float(p.sum())

    def bounds() -> Bounds:
        if value**2 < SPREAD * float((p**2).sum()):
            return None
        changes = -np.where(seen.count == 1, p, 0.0)[seen.which]
        variance = intervals.jackknife(changes)
        variance += intervals.covered(np.arange(n), seen.which, p, n)
        return intervals.around(value, variance, n)

    return Measure(value, n, 0, bounds)
