"""What the source of a corpus knows of a sample, exactly.

Of the grammar:

`valid`: share of sentences that the grammar can make; higher is better. `oracle_nll`: mean
-log P(sentence) in nats of the valid ones, to be read beside the entropy H of the grammar: above H
the sample is too rare, below it the sample repeats what is likely (collapse), so it is neither
higher nor lower that is better but nearness to H. `template_tv`: total variation distance between
the templates (tag sequences) of the sample, invalid sentences as one more template, and the
grammar's; lower is better, 0 to 1; a finite sample of the grammar itself is above 0.

Of SeqGAN's random LSTM (Yu et al. 2017): `valid` is the share of sentences of its length in its
words (a generator may end early, or draw a word of ours such as <unk>); `oracle_nll` is NLL_oracle
as their code computes it and their tables print it, the mean of -log P in nats over the words of
the valid sentences. Uniform words have about 11.3, the oracle's own text about 5.8 (`entropy`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.metrics.ngrams import Sentence
from core.text.lstm_oracle import LstmOracle
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


def lstm_scores(sentences: Sequence[Sentence], oracle: LstmOracle) -> OracleScores:
    """Score a sample under the random LSTM it should have learnt; there are no templates."""
    valid = oracle.valid(sentences)
    kept = [sentence for sentence, whole in zip(sentences, valid, strict=True) if whole]
    return OracleScores(valid, float(oracle.nll(kept).mean()) if kept else None, None)
