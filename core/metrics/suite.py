"""All metrics of a sample at once, against references that are indexed once.

`METRICS` says of each which way is better. A training run, `textgan evaluate` and the reference
row of real text all come through here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.metrics.bleu import ORDERS, ReferenceIndex, bleu, self_bleu
from core.metrics.diversity import copied, distinct, unique
from core.metrics.ms_jaccard import ms_jaccard
from core.metrics.ngrams import NgramTable, Sentence
from core.metrics.oracle import lstm_scores, oracle
from core.text.generated import Oracle
from core.text.lstm_oracle import LstmOracle

Direction = Literal["higher", "lower", "near"]
DISTINCT = (1, 2, 3, 4)


@dataclass(frozen=True)
class MetricInfo:
    """Which way is better ("near": near to what real text has), and what it is in words."""

    direction: Direction
    summary: str


METRICS: Mapping[str, MetricInfo] = {
    "valid": MetricInfo("higher", "share that the corpus's source can make"),
    "oracle_nll": MetricInfo(
        "near", "mean -log P of the valid ones in nats (lstm_oracle: a word), beside the entropy"
    ),
    "entropy": MetricInfo(
        "near", "entropy of a sentence in nats (lstm_oracle: of a word), a constant"
    ),
    "template_tv": MetricInfo("lower", "total variation distance of syntactic templates"),
    "unique": MetricInfo("higher", "distinct sentences over sentences"),
    "copied": MetricInfo("lower", "share that stands in the training text word for word"),
    "length": MetricInfo("near", "mean words of a sentence"),
    **{
        f"distinct_{n}": MetricInfo("higher", f"distinct {n}-grams over {n}-grams")
        for n in DISTINCT
    },
    **{f"bleu_{n}": MetricInfo("higher", f"BLEU-{n} against all references") for n in ORDERS},
    **{f"self_bleu_{n}": MetricInfo("lower", f"BLEU-{n} against each other") for n in ORDERS},
    **{
        f"ms_jaccard_{n}": MetricInfo("higher", f"overlap of 1..{n}-gram multisets with real text")
        for n in ORDERS
    },
}


class Suite:
    """References, training text and oracle of one corpus, ready to score samples."""

    def __init__(
        self,
        references: Sequence[Sentence],
        training: Iterable[Sentence] = (),
        grammar: Oracle | None = None,
    ) -> None:
        self.references = references
        self.index = ReferenceIndex(references)
        self.training = {tuple(sentence) for sentence in training}
        self.grammar = grammar

    def evaluate(self, samples: Sequence[Sentence]) -> dict[str, float | None]:
        """Every metric by name; None where it is undefined."""
        values: dict[str, float | None] = dict.fromkeys(METRICS)
        values["entropy"] = self.grammar.entropy if self.grammar else None
        if not samples:
            return values
        table = NgramTable(samples, max(DISTINCT))
        values["unique"] = unique(samples)
        values["length"] = float(np.mean([len(sentence) for sentence in samples]))
        values |= {f"distinct_{n}": distinct(table, samples, n) for n in DISTINCT}
        values |= {f"bleu_{n}": float(v.mean()) for n, v in bleu(samples, self.index).items()}
        if len(samples) > 1:
            values |= {f"self_bleu_{n}": float(v.mean()) for n, v in self_bleu(samples).items()}
        overlap = ms_jaccard(samples, self.references)
        values |= {f"ms_jaccard_{n}": value for n, value in overlap.items()}
        if self.training:
            values["copied"] = float(copied(samples, self.training).mean())
        if self.grammar is not None:
            if isinstance(self.grammar, LstmOracle):
                scores = lstm_scores(samples, self.grammar)
            else:
                scores = oracle(samples, self.grammar)
            values["valid"] = float(scores.valid.mean())
            values["oracle_nll"], values["template_tv"] = scores.nll, scores.template_tv
        return values
