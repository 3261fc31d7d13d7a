"""Two-sample tests: can a classifier tell samples from real text (Lopez-Paz & Oquab 2017)?

Both metrics take equal counts of samples and references (10,000 of each at most) and are about .5
if the two texts cannot be told apart.

`c2st`: the texts are split in halves at random with a fixed seed. A logistic regression on the
presence of word 1-, 2- and 3-grams and on the sentence length learns on one half; the metric is its
accuracy on the other, 1 if it is always right. Lower is better. It sees wrong words and wrong local
order, not nonsense at a distance. A stronger classifier may find more: .5 does not prove equality.
Interval: Wilson, over held-out sentences, of this classifier.

`c2st_p`: the probability of an accuracy at least as high if both texts were one. Permuting the
labels of the held-out half makes the number of agreements hypergeometric, so p is exact without
drawing permutations.

`nearest_neighbour`: leave-one-out accuracy of the nearest neighbour (Xu et al. 2018). Each sentence
gets the label of the nearest other one (Euclidean distance of embeddings). Below .5 samples are
close to single references, as copies are. So near .5, and near the value of real text, is better.
Equal sentences have distance zero; among equal neighbours each label counts by its share. Interval:
neighbours depend on each other, so sentences linked by being a neighbour form one cluster, and the
variance is that over clusters.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from core.metrics.encoders import Encoder
from core.metrics.intervals import Bounds, Measure, around, share
from core.metrics.ngrams import NgramTable, Text, linked, numbered

ORDER = 3
SHARED = 2  # sentences that must have an n-gram for it to be a feature
FEWEST = 8  # sentences of each text, for a classifier
ROWS = 500  # of the distance matrix at a time


def c2st(samples: Text, references: Text) -> dict[str, Measure]:
    """Accuracy and p of equal counts of sentences; undefined below FEWEST."""
    n = len(samples)
    if n < FEWEST:
        return dict.fromkeys(("c2st", "c2st_p"), Measure(None, n, n))
    from scipy import stats  # sklearn imports it anyway
    from sklearn.linear_model import LogisticRegression

    features = ngram_features([*samples, *references])
    real = np.repeat([False, True], n)
    order = np.random.default_rng(0).permutation(n)
    learn = np.r_[order[: n // 2], n + order[: n // 2]]
    held = np.r_[order[n // 2 :], n + order[n // 2 :]]
    model = LogisticRegression(solver="liblinear", random_state=0)
    model.fit(features[learn], real[learn])
    said = model.predict(features[held])
    hits = said == real[held]
    agreed = int((said & real[held]).sum())
    p = stats.hypergeom.sf(agreed - 1, len(held), int(real[held].sum()), int(said.sum()))

    def by_reference() -> np.ndarray:
        changes = np.zeros(n)
        changes[order[n // 2 :]] = (hits[real[held]] - hits.mean()) / (len(held) - 1)
        return changes

    return {
        "c2st": Measure(float(hits.mean()), n, n, share(hits), by_reference=by_reference),
        "c2st_p": Measure(float(p), n, n),
    }


def ngram_features(sentences: Text) -> sparse.csr_array:
    """Presence of shared n-grams and the standardised length: (sentences, features)."""
    table = NgramTable(sentences, ORDER)
    blocks = []
    for n, counts in enumerate(table.count(sentences), start=1):
        present = np.ones(len(counts.gram))
        shape = (len(sentences), table.size(n))
        matrix = sparse.csc_array((present, (counts.sentence, counts.gram)), shape=shape)
        blocks.append(matrix[:, np.diff(matrix.indptr) >= SHARED])
    lengths = np.array([len(sentence) for sentence in sentences], dtype=float)
    spread = lengths.std() or 1.0
    blocks.append(sparse.csc_array(((lengths - lengths.mean()) / spread)[:, None]))
    return sparse.csr_array(sparse.hstack(blocks, format="csr"))


def nearest_neighbour(samples: Text, references: Text, encoder: Encoder) -> Measure:
    """Of equal counts of sentences; undefined below two."""
    n = len(samples)
    if n < 2:
        return Measure(None, n, n)
    which, numbers = numbered(map(tuple, [*samples, *references]))
    ours = np.bincount(which[:n], minlength=len(numbers)).astype(float)
    theirs = np.bincount(which[n:], minlength=len(numbers)).astype(float)
    neighbour = _neighbours(encoder(list(numbers)), ours + theirs)
    # For each different sentence: the share of its label among the copies of its neighbour.
    many = ours + theirs > 1
    near = np.where(many, np.arange(len(numbers)), neighbour)
    others = (ours + theirs)[near] - many
    right = np.r_[
        ((ours[near] - many) / others)[which[:n]], ((theirs[near] - many) / others)[which[n:]]
    ]
    value = float(right.mean())

    def bounds() -> Bounds:
        cluster = linked(np.arange(len(near)), near, len(near))
        totals = np.bincount(cluster[which], right - value)
        return around(value, float((totals**2).sum()) / len(right) ** 2, int(cluster.max()) + 1)

    return Measure(value, n, n, bounds)


def _neighbours(embeddings: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """Index of the nearest other row for rows that occur once; their own index for the others."""
    # |a - b|^2 less |a|^2 in one product: (-2 a, 1) and (b, |b|^2).
    ones = np.ones((len(embeddings), 1), embeddings.dtype)
    left = np.hstack([-2 * embeddings, ones])
    right = np.hstack([embeddings, (embeddings**2).sum(axis=1, keepdims=True)])
    nearest = np.arange(len(embeddings))
    alone = np.flatnonzero(copies == 1)
    if len(embeddings) < 2:
        return nearest
    for start in range(0, len(alone), ROWS):
        at = alone[start : start + ROWS]
        distance = left[at] @ right.T
        distance[np.arange(len(at)), at] = np.inf
        nearest[at] = distance.argmin(axis=1)
    return nearest
