"""Language model scores, in nats per token (the end of a sentence is one).

`lm`: -log p of the samples under a Kneser-Ney model of the training text (`kneser_ney`), summed and
divided by the tokens. Below what held-out real text gets, the samples repeat what is likely, above
it they are unlikely: near to real text is better. It does not see that one sentence is repeated.

`reverse_lm`: -log p of real held-out text (the references) under a model of the samples (Zhao et
al. 2018; de Masson d'Autume et al. 2019); lower is better: missing words, missing variety and wrong
order all cost. It falls as the samples grow, so compare equal counts, 10,000 or more where that can
be; the row of real text has the count of the held-out file.

Both need a tokenisation that the texts share. Intervals: `lm` over samples, the model held (delta
method). `reverse_lm` over both sides: the references' own scatter (delta method), and that of
models of independent samples, from balanced halves of the samples (`refits`). Two halves differ by
twice the variance of one, and a model of twice the text has half of it (measured between 75 and 600
sentences of the built-in grammars, where it falls by 2 or a little less). The jackknife would not
do: it counts what one group alone has, and that overstates this variance two to five times.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.metrics.intervals import Bounds, Measure, jackknife, of_both, ratio
from core.metrics.kneser_ney import KneserNey
from core.metrics.ngrams import Sentence
from core.metrics.refits import GROUPS, halves


def lm(samples: Sequence[Sentence], model: KneserNey, training: int) -> Measure:
    """Of samples under a model of `training` sentences; undefined without samples."""
    if not samples:
        return Measure(None, 0, training)
    nll, tokens = model.score(samples)
    value = float(nll.sum() / tokens.sum())
    return Measure(value, len(samples), training, ratio(nll, tokens))


def reverse_lm(samples: Sequence[Sentence], references: Sequence[Sentence]) -> Measure:
    """Of references under a model of the samples; undefined where a side has no sentences."""
    n, m = len(samples), len(references)
    if not n or not m:
        return Measure(None, n, m)
    nll, tokens = KneserNey(samples).score(references)
    value = float(nll.sum() / tokens.sum())

    def bounds() -> Bounds:
        if n < GROUPS or m < 2:
            return None
        apart = np.array([one - other for one, other in halves(samples, references)])
        of_samples = _shared(apart / tokens.mean()) / 4
        residuals = (nll - value * tokens) / tokens.mean()
        of_references = jackknife(residuals / (m - 1))
        return of_both(value, of_samples, GROUPS, of_references, m)

    return Measure(value, n, m, bounds)


def _shared(apart: np.ndarray) -> float:
    """Mean over splits of (mean over all text of the difference)^2, from differences (splits, m) of
    some references: over products of two references, since what a sample does to one of them alone
    is in their own scatter already.
    """
    m = apart.shape[1]
    products = apart.sum(axis=1) ** 2 - (apart**2).sum(axis=1)
    return max(float(products.mean() / (m * (m - 1))), 0.0)
