"""BLEU and Self-BLEU as published code computes them, so that old tables can be met.

All take NLTK's sentence BLEU with uniform weights and smoothing method 1; what differs is which
sentences stand on which side. None of them states it in its tables, and none of their numbers may
stand beside another's. docs/howto/metrics.md has the defects of each.

| protocol | BLEU | Self-BLEU |
|---|---|---|
| texygen (Zhu et al. 2018) | all against the first 500 references | the first 500, each against the other 499 |
| textgan (TextGAN-PyTorch) | the first 200 against all | 200 apart against all other samples |
| relgan (Nie et al. 2019) | the first 200 against all | the first 200 against all samples, itself kept in |
| scratchgan (de Masson d'Autume et al. 2019) | 10,000 against 10,000 | 10,000, each against all others |
"""  # noqa: E501 - a table

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from core.metrics.bleu import ReferenceIndex, SelfBleu, bleu, self_bleu
from core.metrics.intervals import Bounds, Measure, clumped, mean
from core.metrics.ngrams import Sentence

GROUPS = ("bleu", "self_bleu")
Found = dict[str, Measure]
Text = Sequence[Sentence]


def bleu_measures(name: str, hypotheses: Text, references: Text) -> Found:
    """`name`_2.. of hypotheses against all the references; undefined where a side is empty."""
    if not hypotheses or not references:
        return {}
    index = ReferenceIndex(references)
    return of_index(name, hypotheses, index)


def of_index(name: str, hypotheses: Text, index: ReferenceIndex) -> Found:
    """The same, of references indexed before."""
    return {
        f"{name}_{n}": Measure(float(s.mean()), len(hypotheses), len(index.lengths), mean(s))
        for n, s in bleu(hypotheses, index).items()
    }


def self_bleu_measures(samples: Text) -> Found:
    """self_bleu_2.. of each sentence against all the others; undefined below two."""
    n = len(samples)
    if n < 2:
        return {}
    found = self_bleu(samples)
    return {
        f"self_bleu_{order}": Measure(
            float(scores.mean()), n, n - 1, partial(_bounds, found, order)
        )
        for order, scores in found.scores.items()
    }


def _bounds(found: SelfBleu, order: int) -> Bounds:
    value, n = float(found.scores[order].mean()), len(found.lengths)
    # A sentence said twice adds 2 (1 - value) / n; what two have in common is a quarter of it.
    return clumped(value, found.variances[order], (1 - value) / (2 * n), n)


def _texygen(samples: Text, references: Text) -> Found:
    return bleu_measures("bleu", samples, references[:500]) | self_bleu_measures(samples[:500])


def _textgan(samples: Text, references: Text) -> Found:
    apart = bleu_measures("self_bleu", samples[:200], samples[200:])
    return bleu_measures("bleu", samples[:200], references) | apart


def _relgan(samples: Text, references: Text) -> Found:
    with_itself = bleu_measures("self_bleu", samples[:200], samples)
    return bleu_measures("bleu", samples[:200], references) | with_itself


def _scratchgan(samples: Text, references: Text) -> Found:
    others = self_bleu_measures(samples[:10_000])
    return bleu_measures("bleu", samples[:10_000], references[:10_000]) | others


PROTOCOLS: Mapping[str, Callable[[Text, Text], Found]] = {
    "texygen": _texygen,
    "textgan": _textgan,
    "relgan": _relgan,
    "scratchgan": _scratchgan,
}
NEEDS: Mapping[str, int] = {"texygen": 500, "textgan": 201, "relgan": 200, "scratchgan": 10_000}
DEFECTS: Mapping[str, str] = {
    "texygen": "500 references only, so BLEU is far below that against all; over a training run "
    "their code keeps comparing with the first evaluation's sentences",
    "textgan": "200 hypotheses only, so BLEU has an interval of some points",
    "relgan": "each sentence stands among its own references, so Self-BLEU is always 1; "
    "200 hypotheses only",
    "scratchgan": "comparable only at exactly 10,000 against 10,000",
}
