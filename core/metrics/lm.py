"""Language model scores, in nats per token (the end of a sentence is one).

`lm`: -log p of the samples under a Kneser-Ney model of the training text (`kneser_ney`), summed and
divided by the tokens. Below what held-out real text gets, the samples repeat what is likely, above
it they are unlikely: near to real text is better. It does not see that one sentence is repeated.

`reverse_lm`: -log p of real held-out text (the references) under a model of the samples (Zhao et
al. 2018; de Masson d'Autume et al. 2019); lower is better: missing words, missing variety and wrong
order all cost. It falls as the samples grow, so compare equal counts, 10,000 or more where that can
be; the row of real text has the count of the held-out file.

Both need a tokenisation that the texts share. Intervals: `lm` over samples, the model held;
`reverse_lm` over the references and over the samples (jackknife over 20 groups of samples).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.metrics.intervals import Bounds, Measure, around, jackknife, ratio
from core.metrics.kneser_ney import KneserNey
from core.metrics.ngrams import Sentence

GROUPS = 20


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
        if n < GROUPS:
            return None
        without = []
        for group in range(GROUPS):
            kept = [s for i, s in enumerate(samples) if i % GROUPS != group]
            without.append(float(KneserNey(kept).score(references)[0].sum() / tokens.sum()))
        residuals = (nll - value * tokens) / tokens.mean()
        over_references = jackknife(residuals / max(m - 1, 1))
        return around(value, jackknife(np.array(without)) + over_references, GROUPS)

    return Measure(value, n, m, bounds)
