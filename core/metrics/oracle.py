"""What the grammar knows of a sample, exactly.

`valid`: share of sentences that the grammar can make; higher is better. `oracle_nll`: mean
-log P(sentence) in nats of the valid ones, to be read beside the entropy H of the grammar: above H
the sample is too rare, below it the sample repeats what is likely (collapse), so it is neither
higher nor lower that is better but nearness to H. `template_tv`: total variation distance between
the templates (tag sequences) of the sample, invalid sentences as one more template, and the
grammar's; lower is better, 0 to 1; a finite sample of the grammar itself is above 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.metrics.ngrams import Sentence
from core.text.pcfg import Grammar


@dataclass(frozen=True)
class OracleScores:
    """The three scores; the likelihood is None when no sentence is valid."""

    valid: np.ndarray  # bool (sentences,)
    nll: float | None
    template_tv: float | None


def oracle(sentences: Sequence[Sentence], grammar: Grammar) -> OracleScores:
    """Score a sample under the grammar it should have learnt."""
    logs = np.array([grammar.log_prob(sentence) for sentence in sentences])
    valid = logs > -math.inf
    if len(sentences) == 0:
        return OracleScores(valid.astype(bool), None, None)
    seen = Counter(grammar.template(sentence) for sentence in sentences)
    real = grammar.template_probabilities
    # Half of sum |p - q|; what the sample never shows contributes its whole probability.
    shown = sum(p for template, p in real.items() if template in seen)
    gap = sum(
        abs(count / len(sentences) - (real.get(template, 0.0) if template else 0.0))
        for template, count in seen.items()
    )
    distance = (gap + max(0.0, 1.0 - shown)) / 2
    return OracleScores(valid, float(-logs[valid].mean()) if valid.any() else None, distance)
