"""Classifier two-sample test (Lopez-Paz & Oquab 2017): can a classifier tell samples from real?

Samples and references in equal counts (10,000 of each at most) are split in halves at random with a
fixed seed; a logistic regression on which word 1-, 2- and 3-grams a sentence has, and on its
length, learns on one half, and `c2st` is its accuracy on the other. About .5 when it cannot tell,
1 when it always can; lower is better. It sees wrong words and wrong order nearby, not nonsense at
a distance; a stronger classifier finds more, so .5 is no proof of equality.

`c2st_p`: the probability, were the two texts one, of an accuracy at least so high. The labels of
the held-out half are permuted against the predictions; how many agree is then hypergeometric, so p
is exact without drawing one permutation. Interval of the accuracy: Wilson, over held-out sentences,
of this classifier.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse, stats

from core.metrics.intervals import Measure, share
from core.metrics.ngrams import NgramTable, Sentence

ORDER = 3
SHARED = 2  # sentences that must have an n-gram for it to count as a feature
FEWEST = 8  # sentences of each text


def c2st(samples: Sequence[Sentence], references: Sequence[Sentence]) -> dict[str, Measure]:
    """Accuracy and p of equal counts of sentences; undefined below FEWEST."""
    n = len(samples)
    if n < FEWEST:
        return dict.fromkeys(("c2st", "c2st_p"), Measure(None, n, n))
    from sklearn.linear_model import LogisticRegression

    features = _features([*samples, *references])
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
    return {
        "c2st": Measure(float(hits.mean()), n, n, share(hits)),
        "c2st_p": Measure(float(p), n, n),
    }


def _features(sentences: Sequence[Sentence]) -> sparse.csr_array:
    """Presence of shared n-grams and the standardised length: (sentences, features)."""
    table = NgramTable(sentences, ORDER)
    blocks = []
    for n, counts in enumerate(table.levels(sentences), start=1):
        present = np.ones(len(counts.gram))
        shape = (len(sentences), table.size(n))
        matrix = sparse.csc_array((present, (counts.sentence, counts.gram)), shape=shape)
        blocks.append(matrix[:, np.diff(matrix.indptr) >= SHARED])
    lengths = np.array([len(sentence) for sentence in sentences], dtype=float)
    spread = lengths.std() or 1.0
    blocks.append(sparse.csc_array(((lengths - lengths.mean()) / spread)[:, None]))
    return sparse.csr_array(sparse.hstack(blocks, format="csr"))
