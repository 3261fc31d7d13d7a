"""Language model scores, in nats per token (the end of a sentence is a token).

`lm`: -log p of the samples under a Kneser-Ney model of the training text (`kneser_ney`), summed and
divided by the tokens. Below the value of held-out real text the samples repeat what is likely,
above it they are unlikely: near real text is better. It does not see that a sentence is repeated.

`reverse_lm`: -log p of real held-out text (the references) under a model of the samples (Zhao et
al. 2018; de Masson d'Autume et al. 2019). Lower is better: missing words, missing variety and wrong
order all raise it. It falls as the samples grow, so compare equal counts, 10,000 or more if
possible; the row of real text has the count of the held-out file.

Both need texts of one tokenisation. Interval of `lm`: over samples with the model held fixed (delta
method). Interval of `reverse_lm`: over both sides, the references' own scatter (delta method) and
that of models of independent samples, from balanced halves of the samples. Two halves differ by
twice the variance of one, and a model of twice the text has half of it (measured between 75 and 600
sentences of the built-in grammars, where it falls by 2 or a little less). The jackknife would
overstate this variance two to five times, because it counts what only one group has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.linalg import hadamard

from core.metrics.intervals import Bounds, Measure, jackknife, of_both, ratio
from core.metrics.kneser_ney import ORDER, Counted, KneserNey, marked_ids, summed, token_nll
from core.metrics.ngrams import Text

GROUPS = 16  # a power of two: balanced halves are the rows of a Hadamard matrix


def lm(samples: Text, model: KneserNey, training: int) -> Measure:
    """Of samples under a model of `training` sentences; undefined without samples."""
    if not samples:
        return Measure(None, 0, training)
    nll, tokens = model.score(samples)
    value = float(nll.sum() / tokens.sum())
    return Measure(value, len(samples), training, ratio(nll, tokens))


def reverse_lm(samples: Text, references: Text) -> Measure:
    """Of references under a model of the samples; undefined where a side has no sentences."""
    n, m = len(samples), len(references)
    if not n or not m:
        return Measure(None, n, m)
    nll, tokens = KneserNey(samples).score(references)
    value = float(nll.sum() / tokens.sum())

    def bounds() -> Bounds:
        if n < GROUPS or m < 2:
            return None
        apart = np.array([one - other for one, other in score_halves(samples, references)])
        of_samples = _shared(apart / tokens.mean()) / 4
        return of_both(value, of_samples, GROUPS, jackknife(by_reference()), m)

    def by_reference() -> np.ndarray:
        return np.asarray((nll - value * tokens) / tokens.mean() / max(m - 1, 1))

    return Measure(value, n, m, bounds, by_reference=by_reference)


def score_halves(samples: Text, references: Text) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For GROUPS - 1 balanced splits of the samples' interleaved groups into halves (McCarthy
    1969): -log p of the references in nats (m,) under a model of either half.

    n-grams keep the numbers of the whole text. One that a half lacks has count 0, gets no
    probability of its own and is no context, so this equals fitting the half anew.
    """
    counted = Counted(samples, ORDER)
    found, lengths = marked_ids(counted.table, references)
    ids = [of_order.astype(np.int32) for of_order in found]

    def under(raw: Sequence[np.ndarray]) -> np.ndarray:
        words = int(np.count_nonzero(raw[0]))  # the begin mark counts as the unknown word
        return summed(token_nll(counted.levels(raw), ids, lengths, words), lengths)

    for row in hadamard(GROUPS)[1:]:
        some = counted.of(np.flatnonzero(np.resize(row > 0, len(samples))))
        yield under(some), under([a - b for a, b in zip(counted.raw, some, strict=True)])


def _shared(apart: np.ndarray) -> float:
    """Mean over splits of (mean over all text of the difference)^2, from differences (splits, m)
    of some references. It is over products of two references: the effect of a sample on a single
    one is in their own scatter already.
    """
    m = apart.shape[1]
    products = apart.sum(axis=1) ** 2 - (apart**2).sum(axis=1)
    return max(float(products.mean() / (m * (m - 1))), 0.0)
