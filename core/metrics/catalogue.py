"""Every metric by name: which way is better, what it is, its group, how many sentences it needs.

The groups are what `--metrics` takes, but for those that need a generator. `least` is the number of
sentences on each side from which the values of a group are worth comparing; below it there is a
warning, not a refusal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Direction = Literal["higher", "lower", "near"]


@dataclass(frozen=True)
class MetricInfo:
    """Which way is better ("near": near to what real text has), and what it is in words."""

    direction: Direction
    summary: str
    group: str
    bounds: tuple[float, float] = (-math.inf, math.inf)  # no value lies beyond


SHARE = (0.0, 1.0)

LEAST: Mapping[str, int] = {
    "oracle": 500,
    "unique": 100,
    "copied": 100,
    "novelty": 100,
    "length": 100,
    "distinct": 100,
    "ngram_entropy": 500,
    "bleu": 100,
    "self_bleu": 500,
    "ms_jaccard": 500,
    "lm": 100,
    "reverse_lm": 1000,
    "fed": 500,
    "mmd": 200,
    "c2st": 200,
    "nearest_neighbour": 200,
    "nll_gen": 100,
}
# Where each group is defined, in core/metrics: the docstring there is its page in the reference.
DEFINED: Mapping[str, str] = {
    **{group: group for group in LEAST},
    **dict.fromkeys(("unique", "distinct", "ngram_entropy"), "diversity"),
    **dict.fromkeys(("copied", "novelty"), "novelty"),
    **dict.fromkeys(("bleu", "self_bleu"), "bleu"),
    **dict.fromkeys(("lm", "reverse_lm"), "lm"),
}
# That compare samples with the references.
AGAINST = ("bleu", "ms_jaccard", "reverse_lm", "fed", "mmd", "c2st", "nearest_neighbour")
# Whose values depend on the number of sentences, so that equal numbers alone may be compared.
BY_COUNT = ("unique", "distinct", "ngram_entropy", "self_bleu", "ms_jaccard", "reverse_lm")
OF_GENERATORS = ("nll_gen",)  # that need the generator itself, not what it wrote
GROUPS = tuple(group for group in LEAST if group not in OF_GENERATORS)
TRAINED = ("oracle", "unique", "copied", "length", "distinct", "bleu", "self_bleu", "ms_jaccard")
DISTINCT = (1, 2, 3, 4)
BLEU = (2, 3, 4, 5)


def _numbered(
    name: str,
    orders: tuple[int, ...],
    direction: Direction,
    summary: str,
    bounds: tuple[float, float] = SHARE,
) -> dict[str, MetricInfo]:
    return {f"{name}_{n}": MetricInfo(direction, summary.format(n=n), name, bounds) for n in orders}


CATALOGUE: Mapping[str, MetricInfo] = {
    "valid": MetricInfo("higher", "share that the corpus's source can make", "oracle", SHARE),
    "oracle_nll": MetricInfo(
        "near",
        "mean -log P of the valid ones in nats (lstm_oracle: a word), beside the entropy",
        "oracle",
    ),
    "entropy": MetricInfo(
        "near", "entropy of a sentence in nats (lstm_oracle: of a word), a constant", "oracle"
    ),
    "template_tv": MetricInfo(
        "lower", "total variation distance of syntactic templates", "oracle", SHARE
    ),
    "mass_covered": MetricInfo("higher", "probability of the sentences seen", "oracle", SHARE),
    "unique": MetricInfo("higher", "distinct sentences over sentences", "unique", SHARE),
    "copied": MetricInfo(
        "lower", "share that stands in the training text word for word", "copied", SHARE
    ),
    "longest_copy": MetricInfo(
        "near", "mean words of the longest run that the training text has", "novelty"
    ),
    "length": MetricInfo("near", "mean words of a sentence", "length"),
    **_numbered("distinct", DISTINCT, "higher", "distinct {n}-grams over {n}-grams"),
    **_numbered(
        "ngram_entropy",
        DISTINCT,
        "near",
        "entropy of the sample's {n}-grams in nats",
        (0.0, math.inf),
    ),
    **_numbered("bleu", BLEU, "higher", "BLEU-{n} against all references"),
    **_numbered("self_bleu", BLEU, "lower", "BLEU-{n} against each other"),
    **_numbered("ms_jaccard", BLEU, "higher", "overlap of 1..{n}-gram multisets with real text"),
    "lm": MetricInfo("near", "nats a token under a model of the training text", "lm"),
    "reverse_lm": MetricInfo(
        "lower", "nats a token of the references under a model of the samples", "reverse_lm"
    ),
    "fed": MetricInfo("lower", "Frechet distance of embeddings, for infinitely many", "fed"),
    "mmd": MetricInfo("lower", "unbiased squared discrepancy of embeddings", "mmd"),
    "c2st": MetricInfo(
        "lower", "accuracy of a classifier, held out; .5: cannot tell", "c2st", SHARE
    ),
    "c2st_p": MetricInfo("higher", "probability of that accuracy, were both real", "c2st"),
    "nearest_neighbour": MetricInfo(
        "near", "accuracy of the nearest neighbour; .5: cannot tell", "nearest_neighbour"
    ),
    "nll_gen": MetricInfo(
        "lower",
        "nats a token of held-out text under the generator, if explicit",
        "nll_gen",
        (0.0, math.inf),
    ),
}

# What a training run measures, and a study may rank by.
METRICS: Mapping[str, MetricInfo] = {
    name: info
    for name, info in CATALOGUE.items()
    if info.group in (*TRAINED, *OF_GENERATORS) and name != "mass_covered"
}


def metric_info(key: str) -> MetricInfo:
    """What is known of a metric by its logged name, `eval/bleu_2` or `test/bleu_2`."""
    return METRICS[key.partition("/")[2]]


def ranking_metric(metric: str) -> str:
    """The metric, if it can rank; ValueError otherwise."""
    if metric.removeprefix("eval/") not in METRICS or not metric.startswith("eval/"):
        raise ValueError("must be one of " + ", ".join(f"eval/{name}" for name in METRICS))
    if metric_info(metric).direction == "near":
        raise ValueError("has no better or worse of its own, it cannot rank variants")
    return metric
