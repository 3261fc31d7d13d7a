r"""Known doses of known faults in real text, for the metric laboratory.

A fault maps n real sentences and a dose d in [0, 1] to n sentences. There are three kinds:

- `rewrite` changes the words of a share d of the sentences that it can change;
- `replace` puts draws of another distribution F in the place of a share d of the sentences, so
  that the text has the distribution Q = (1 - d) P + d F;
- `redraw` draws all sentences from a distribution Q_d, with Q_0 = P.

With dose 0 a fault returns the sentences, and with one seed the sentences that a dose affects are
among those that a higher dose affects.

On the grammar P is known, and with it the Jensen-Shannon divergence that a dose plants (`planted`):

    JSD = E_M [1 - h(P / (P + Q))],  M = (P + Q) / 2,  h the binary entropy in bits,

over PLANTED_DRAWS sentences of P and of F or Q. A rewritten sentence outside the language has
P = 0. With a share c of such sentences, and the others distributed as P,

    JSD = (1 - c / 2) (1 - h(1 / (2 - c))) + c / 2,

which is the value for `rewrite`. It is a lower bound if the others have another distribution.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import special

from core.metrics.catalogue import FLOORS
from core.metrics.fault_sources import MOST_LOST, Law, Rng, Source, log_probs
from core.metrics.floors import Floor
from core.metrics.ngrams import Sentence, Text
from core.text.pcfg import Grammar

REPEATED = 0.1  # share of the sample that the repeats are copies of
PLANTED_DRAWS = 2000
LOG_2 = math.log(2)


@dataclass(frozen=True)
class Fault:
    """One of the three kinds of the module's docstring; exactly one of the functions is given."""

    summary: str
    rewrite: Callable[[list[str], Source, Rng], Sentence | None] | None = None  # None: it cannot
    replace: Callable[[Source, Text], Law] | None = None  # given sentences that stay
    redraw: Callable[[Source, float, Rng, int], Law] | None = None

    def __call__(self, sentences: Text, dose: float, source: Source, seed: int) -> Text:
        """The sentences with a dose of the fault: as many, in the same order."""
        found, n, rng = list(sentences), len(sentences), np.random.default_rng(seed)
        if dose == 0 or not found:
            return found
        if self.redraw is not None:
            return self.redraw(source, dose, rng, n).draw(n, rng)
        order = rng.permutation(n)
        if self.rewrite is not None:
            changed = [self.rewrite(list(sentence), source, rng) for sentence in found]
        else:
            assert self.replace is not None
            stays = [found[i] for i in order[-math.ceil(REPEATED * n) :]]
            changed = [*self.replace(source, stays).draw(n, rng)]
        possible = [i for i in order if changed[i] is not None]
        for i in possible[: round(dose * len(possible))]:
            found[i] = changed[i] or []
        return found


def planted(fault: Fault, doses: Sequence[float], source: Source) -> list[float | None]:
    """The divergence in bits that each dose plants; None where it is not known."""
    if source.oracle is None:
        return [None] * len(doses)
    oracle = source.oracle
    real = source.real.draw(PLANTED_DRAWS, np.random.default_rng(0))
    if fault.rewrite is not None:
        changed = fault(real, 1.0, source, 0)
        outside = float(np.mean([not oracle.valid(sentence) for sentence in changed]))
        return [_disjoint(dose * outside) for dose in doses]
    if fault.replace is not None:
        return _mixed(oracle, real, fault.replace(source, []), doses)
    assert fault.redraw is not None
    laws = [fault.redraw(source, dose, np.random.default_rng(0), 0) for dose in doses]
    return [_mixed(oracle, real, law, [1.0])[0] for law in laws]


def _mixed(oracle: Grammar, real: Text, law: Law, doses: Sequence[float]) -> list[float | None]:
    """The divergence of P and (1 - dose) P + dose F for each dose."""
    if law.log_prob is None:
        return [None] * len(doses)
    text = [*real, *law.draw(PLANTED_DRAWS, np.random.default_rng(1))]
    p, f = log_probs(oracle, text), law.log_prob(text)
    found: list[float | None] = []
    for dose in doses:
        with np.errstate(divide="ignore"):
            q = np.logaddexp(np.log(1 - dose) + p, np.log(dose) + f)
        known = _known(np.exp(p - np.logaddexp(p, q)))
        weights = np.repeat([1 - dose / 2, dose / 2], [len(real), len(text) - len(real)])
        found.append(float(np.average(known, weights=weights)))
    return found


def _disjoint(c: float) -> float:
    """The divergence of P and a mixture with a share c of sentences outside the language."""
    return float((1 - c / 2) * _known(1 / (2 - c)) + c / 2)


def _known(share: np.ndarray | float) -> np.ndarray:
    """1 - h(share) in bits, of a sentence whose P / (P + Q) is the share."""
    return np.asarray(
        1 + (special.xlogy(share, share) + special.xlog1py(1 - share, -share)) / LOG_2
    )


def _shuffled(words: list[str], source: Source, rng: Rng) -> Sentence | None:
    if len(set(words)) < 2:
        return None
    changed = words
    while changed == words:
        changed = [words[i] for i in rng.permutation(len(words))]
    return changed


def _neighbours(words: list[str], source: Source, rng: Rng) -> Sentence | None:
    places = [i for i in range(len(words) - 1) if words[i] != words[i + 1]]
    return _exchanged(words, i := places[rng.integers(len(places))], i + 1) if places else None


def _agreement(words: list[str], source: Source, rng: Rng) -> Sentence | None:
    places = [i for i, word in enumerate(words) if word in source.agreement]
    if not places:
        return None
    place = places[rng.integers(len(places))]
    return [*words[:place], source.agreement[words[place]], *words[place + 1 :]]


def _attributes(words: list[str], source: Source, rng: Rng) -> Sentence | None:
    places = [i for i, word in enumerate(words) if word in source.adjectives]
    pairs = [(i, j) for i in places for j in places if i < j and words[i] != words[j]]
    return _exchanged(words, *pairs[rng.integers(len(pairs))]) if pairs else None


def _exchanged(words: list[str], i: int, j: int) -> Sentence:
    words[i], words[j] = words[j], words[i]
    return words


def _truncated(words: list[str], source: Source, rng: Rng) -> Sentence | None:
    return words[: rng.integers(1, len(words))] if len(words) > 1 else None


def _inserted(words: list[str], source: Source, rng: Rng) -> Sentence | None:
    donor = source.training[int(rng.integers(len(source.training)))] or ["the"]
    place = rng.integers(len(words) + 1)
    return [*words[:place], donor[int(rng.integers(len(donor)))], *words[place:]]


def _picked(text: Text) -> Callable[[int, Rng], Text]:
    return lambda n, rng: [text[i] for i in rng.integers(len(text), size=n)]


def _copies(source: Source, stays: Text) -> Law:
    seen = Counter(map(tuple, source.training))

    def log_prob(text: Text) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log(np.array([seen[tuple(s)] for s in text]) / len(source.training))

    return Law(_picked(source.training), log_prob)


@lru_cache(maxsize=len(FLOORS))
def _floor(name: str, source: Source) -> Law:
    floor = Floor(name, source.training)
    return Law(lambda n, rng: floor.sample(n, rng=rng), lambda text: -floor.nll(text))


FAULTS: Mapping[str, Fault] = {
    "shuffled_words": Fault("the words of the sentence in random order", _shuffled),
    "swapped_neighbours": Fault("two neighbouring words change places", _neighbours),
    "agreement_errors": Fault(
        "a word in the wrong number or form: verbs in the grammar; a/an, is/are, this/these, ... "
        "in real text",
        _agreement,
    ),
    "swapped_attributes": Fault(
        "two adjectives change places; the grammar's adjectives do not depend on the noun, so "
        "there it changes nothing",
        _attributes,
    ),
    "inserted_words": Fault("a random word of the training text at a random place", _inserted),
    "truncation": Fault("the sentence ends after a random word", _truncated),
    **{
        f"{name}_samples": Fault(
            f"sentences become samples of the unsmoothed {name} model of the training text",
            replace=lambda source, stays, name=name: _floor(name, source),  # type: ignore[misc]
        )
        for name in FLOORS
    },
    "repeats": Fault(
        "sentences become copies of a tenth of the sample",
        replace=lambda source, stays: Law(_picked(stays)),
    ),
    "training_copies": Fault("sentences become sentences of the training text", replace=_copies),
    "lost_modes": Fault(
        "templates of the grammar, or clusters of real text, with this share of the sentences "
        f"(at most {MOST_LOST:.0%}) are missing",
        redraw=lambda source, dose, rng, n: source.without_modes(dose, rng, n),
    ),
    "low_temperature": Fault(
        "temperature 1 - dose / 2: of all weights of the grammar; real text is drawn with weights "
        "under a Kneser-Ney model",
        redraw=lambda source, dose, rng, n: source.tempered(1 - dose / 2),
    ),
    "high_temperature": Fault(
        "temperature 1 + dose / 2, in the same way",
        redraw=lambda source, dose, rng, n: source.tempered(1 + dose / 2),
    ),
    "flattened_frequencies": Fault(
        "word frequencies to the power 1 - dose: of the words of each tag; real text is drawn "
        "with weights by the frequency of its words",
        redraw=lambda source, dose, rng, n: source.flattened(dose),
    ),
}  # fmt: skip
