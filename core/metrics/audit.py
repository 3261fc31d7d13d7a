"""Split audit: do two parts of a corpus come from one distribution, and do they share sentences?

Of two splits: the share of the second one's sentences that the first has too; the total variation
distance of their word frequencies, and of their sentence lengths, each beside what the same
sentences give when they are split at random (mean over RESPLITS permutations of the sentences). A
distance is out of line when it is above that mean by more than six standard deviations and by more
than .01; shared sentences are when they are more than .5% of the second split. Splits of more than
MOST sentences are audited on evenly spaced ones, but for the duplicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import sparse

from core.metrics.ngrams import NgramTable, Text
from core.text.corpus import Split, spaced
from core.text.hashing import hash_of

RESPLITS = 40
MOST = 20_000
FEWEST = 50  # sentences of either split, for the distances to say anything
OUT_OF_LINE = 6.0  # standard deviations
NOTABLE = 0.01
SHARED = 0.005
WORDS = 5


@dataclass(frozen=True)
class Distance:
    """A total variation distance, and the same between random re-splits of the sentences."""

    value: float
    resplit_mean: float
    resplit_sd: float

    @property
    def out_of_line(self) -> bool:
        """Whether a random split would not have given it."""
        excess = self.value - self.resplit_mean
        return excess > max(OUT_OF_LINE * self.resplit_sd, NOTABLE)


@dataclass(frozen=True)
class Pair:
    """Two splits side by side."""

    first: str
    second: str
    shared: float  # share of the second's sentences that the first has too
    words: Distance | None
    lengths: Distance | None
    telling: Mapping[str, tuple[float, float]]  # word: share of sentences of either that have it

    def warnings(self) -> list[str]:
        """A sentence for each thing that is wrong, each with the word split in it."""
        both = f"{self.first} and {self.second}"
        found = []
        if self.words is not None and self.words.out_of_line:
            telling = "; ".join(
                f"{word!r} is in {a:.2%} and {b:.2%} of the sentences"
                for word, (a, b) in list(self.telling.items())[:2]
            )
            found.append(
                f"broken split: the words of {both} are {self.words.value:.3f} apart, a random "
                f"split of the same sentences {self.words.resplit_mean:.3f} ({telling}); pool and "
                f"split again by a hash of the sentence"
            )
        elif self.lengths is not None and self.lengths.out_of_line:
            found.append(
                f"broken split: the lengths of {both} are {self.lengths.value:.3f} apart, a random "
                f"split of the same sentences {self.lengths.resplit_mean:.3f}"
            )
        if self.shared > SHARED:
            found.append(
                f"leaking split: {self.shared:.1%} of the sentences of {self.second} also occur in "
                f"{self.first}; remove duplicates before splitting"
            )
        return found


def audit(splits: Mapping[str, Text | Split]) -> list[Pair]:
    """Every two of the splits, in their order."""
    return [_pair(a, splits[a], b, splits[b]) for a, b in combinations(splits, 2)]


def _pair(a: str, first: Text | Split, b: str, second: Text | Split) -> Pair:
    known = {hash_of(sentence) for sentence in first}
    shared = sum(hash_of(sentence) in known for sentence in second) / max(len(second), 1)
    x, y = _spread(first), _spread(second)
    if min(len(x), len(y)) < FEWEST:
        return Pair(a, b, shared, None, None, {})
    table = NgramTable([*x, *y], 1)
    counts = next(table.count([*x, *y]))
    of_word = sparse.csr_array(
        (counts.count.astype(float), (counts.sentence, counts.gram)),
        shape=(len(x) + len(y), table.size(1)),
    )
    lengths = np.array([len(sentence) for sentence in [*x, *y]])
    of_length = sparse.csr_array(
        (np.ones(len(lengths)), (np.arange(len(lengths)), lengths)),
        shape=(len(lengths), int(lengths.max()) + 1),
    )
    side = np.arange(len(lengths)) < len(x)
    words = _distance(of_word, side)
    telling = _telling(of_word, side, list(table.words)) if words.out_of_line else {}
    return Pair(a, b, shared, words, _distance(of_length, side), telling)


def _distance(things: sparse.csr_array, side: np.ndarray) -> Distance:
    """Of two rows of frequencies: sentences (n, things) on the side that `side` (n,) says."""
    rng = np.random.default_rng(0)
    sides = np.stack([side, *(rng.permutation(side) for _ in range(RESPLITS))]).astype(float)
    ours = np.asarray(sides @ things)
    theirs = np.asarray(things.sum(axis=0)) - ours
    ours /= np.maximum(ours.sum(axis=1, keepdims=True), 1)
    theirs /= np.maximum(theirs.sum(axis=1, keepdims=True), 1)
    found = np.abs(ours - theirs).sum(axis=1) / 2
    return Distance(float(found[0]), float(found[1:].mean()), float(found[1:].std(ddof=1)))


def _telling(
    things: sparse.csr_array, side: np.ndarray, words: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """The words whose share of sentences differs most in standard errors."""
    present = (things > 0).astype(float)
    a = np.asarray(side.astype(float) @ present) / side.sum()
    b = np.asarray((~side).astype(float) @ present) / (~side).sum()
    pooled = (a + b) / 2
    score = np.abs(a - b) / np.sqrt(np.maximum(pooled * (1 - pooled), 1e-12))
    most = np.argsort(-score, kind="stable")[:WORDS]
    return {words[i]: (float(a[i]), float(b[i])) for i in most}


def _spread(sentences: Text | Split) -> Text:
    if isinstance(sentences, Split):
        return sentences.sentences(MOST)
    return [sentences[i] for i in spaced(len(sentences), MOST)]
