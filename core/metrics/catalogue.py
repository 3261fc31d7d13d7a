"""Every metric and every group of metrics: the one place that describes them.

A group is computed together, and `textgan evaluate --metrics` takes its name. `plugins` adds the
metrics of other packages. This module imports nothing of ours, so that the configuration can check
a metric's name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Direction = Literal["higher", "lower", "near"]
SHARE = (0.0, 1.0)
POSITIVE = (0.0, math.inf)
BLEU_ORDERS = (2, 3, 4, 5)
NGRAM_ORDERS = (1, 2, 3, 4)
FLOORS: Mapping[str, int] = {"unigram": 1, "bigram": 2, "trigram": 3}  # name, order of the model
LIKELIHOOD = "likelihood"  # the baseline that is a language model of the training text


@dataclass(frozen=True)
class GroupInfo:
    """A group of metrics; its module's docstring is its page in the reference."""

    module: str
    needs: int  # sentences on each side; with fewer there is a warning
    references: bool = False  # whether it compares samples with references
    size_dependent: bool = False  # whether only values of equal sample sizes can be compared
    in_runs: bool = False  # whether a training run measures it
    last_only: bool = False  # whether a training run measures it at its last evaluation only
    training: bool = False  # whether it needs the training text
    generator: bool = False  # whether it needs the generator itself
    oracle: bool = False  # whether it needs the source of the corpus
    uses_oracle: bool = False  # whether its values are others where the source is known
    encoder: bool = False  # whether it compares embeddings
    optional: bool = False  # whether it is computed only if its name is given
    version: int = 1  # of the definitions; a change of values raises it
    fixed: tuple[str, ...] = ()  # `key:value` parts of the signature that are always the same


@dataclass(frozen=True)
class MetricInfo:
    """A metric. Direction "near": the closer to the value of real text, the better."""

    direction: Direction
    summary: str
    group: str
    bounds: tuple[float, float] = (-math.inf, math.inf)  # of its values
    in_runs: bool = True  # False: not measured in runs even if its group is

    @property
    def worst(self) -> float | None:
        """The value of a run without samples; None if the metric has no worst value."""
        end = self.bounds[0 if self.direction == "higher" else 1]
        return end if self.direction != "near" and math.isfinite(end) else None


GROUPS: dict[str, GroupInfo] = {
    "jsd_bound": GroupInfo(
        "core.metrics.judge",
        1000,
        references=True,
        size_dependent=True,
        in_runs=True,
        last_only=True,
        uses_oracle=True,
        version=2,
        fixed=("seed:0",),
    ),
    "oracle": GroupInfo("core.metrics.oracle", 500, in_runs=True, oracle=True),
    "unique": GroupInfo("core.metrics.diversity", 100, size_dependent=True, in_runs=True),
    "copied": GroupInfo("core.metrics.diversity", 100, in_runs=True, training=True),
    "novelty": GroupInfo("core.metrics.diversity", 100, training=True),
    "length": GroupInfo("core.metrics.diversity", 100, in_runs=True),
    "distinct": GroupInfo("core.metrics.diversity", 100, size_dependent=True, in_runs=True),
    "ngram_entropy": GroupInfo("core.metrics.diversity", 500, size_dependent=True),
    "bleu": GroupInfo(
        "core.metrics.bleu", 100, references=True, in_runs=True, fixed=("smooth:method1",)
    ),
    "self_bleu": GroupInfo(
        "core.metrics.bleu", 500, size_dependent=True, in_runs=True, fixed=("smooth:method1",)
    ),
    "ms_jaccard": GroupInfo(
        "core.metrics.ms_jaccard", 500, references=True, size_dependent=True, in_runs=True
    ),
    "lm": GroupInfo("core.metrics.lm", 100, training=True, fixed=("smooth:kneser_ney",)),
    "reverse_lm": GroupInfo(
        "core.metrics.lm",
        1000,
        references=True,
        size_dependent=True,
        fixed=("smooth:kneser_ney",),
    ),
    "fed": GroupInfo("core.metrics.fed", 500, references=True, encoder=True, version=2),
    "mmd": GroupInfo("core.metrics.mmd", 200, references=True, encoder=True, version=2),
    "c2st": GroupInfo(
        "core.metrics.two_sample", 200, references=True, size_dependent=True, fixed=("seed:0",)
    ),
    "nearest_neighbour": GroupInfo(
        "core.metrics.two_sample",
        200,
        references=True,
        size_dependent=True,
        encoder=True,
        version=2,
    ),
    "mauve": GroupInfo(
        "core.metrics.mauve",
        500,
        references=True,
        size_dependent=True,
        encoder=True,
        optional=True,
    ),
    "nll_gen": GroupInfo("core.training.nll_gen", 100, in_runs=True, generator=True),
    "jsd": GroupInfo(
        "core.training.jsd",
        500,
        references=True,
        in_runs=True,
        generator=True,
        oracle=True,
        fixed=("refs:oracle",),  # fresh draws
    ),
}
# What `textgan evaluate` computes unless told otherwise.
TEXT_GROUPS = tuple(
    group for group, info in GROUPS.items() if not (info.generator or info.optional)
)


def _by_order(
    group: str,
    orders: Sequence[int],
    direction: Direction,
    summary: str,
    bounds: tuple[float, float] = SHARE,
) -> dict[str, MetricInfo]:
    return {
        f"{group}_{n}": MetricInfo(direction, summary.format(n=n), group, bounds) for n in orders
    }


CATALOGUE: dict[str, MetricInfo] = {
    "jsd_bound": MetricInfo(
        "lower",
        "bits by which a classifier tells samples from real text: a lower bound of jsd; real: 0",
        "jsd_bound",
        (-math.inf, 1.0),
    ),
    "valid": MetricInfo("higher", "share of sentences in the oracle's language", "oracle", SHARE),
    "oracle_nll": MetricInfo(
        "near",
        "mean -log P of the valid sentences in nats (lstm_oracle: per word); compare with entropy",
        "oracle",
    ),
    "entropy": MetricInfo(
        "near", "entropy of the source in nats per sentence (lstm_oracle: per word)", "oracle"
    ),
    "template_tv": MetricInfo(
        "lower", "total variation distance of syntactic templates", "oracle", SHARE
    ),
    "template_l2": MetricInfo(
        "lower", "squared L2 distance of syntactic templates, unbiased", "oracle"
    ),
    "mass_covered": MetricInfo(
        "higher", "probability of the set of generated sentences", "oracle", SHARE, in_runs=False
    ),
    "mass_covered_ratio": MetricInfo(
        "near",
        "mass_covered / its expectation for as many sentences of the grammar",
        "oracle",
        POSITIVE,
        in_runs=False,
    ),
    "unique": MetricInfo("higher", "distinct sentences / sentences", "unique", SHARE),
    "copied": MetricInfo(
        "lower", "share of sentences that occur in the training text", "copied", SHARE
    ),
    "longest_copy": MetricInfo(
        "near", "mean length in words of the longest run copied from the training text", "novelty"
    ),
    "length": MetricInfo("near", "mean words per sentence", "length"),
    **_by_order("distinct", NGRAM_ORDERS, "higher", "distinct {n}-grams / {n}-grams"),
    **_by_order(
        "ngram_entropy", NGRAM_ORDERS, "near", "entropy of the sample's {n}-grams in nats", POSITIVE
    ),
    **_by_order("bleu", BLEU_ORDERS, "higher", "BLEU-{n} against all references"),
    **_by_order("self_bleu", BLEU_ORDERS, "lower", "BLEU-{n} of each sample against the others"),
    **_by_order(
        "ms_jaccard", BLEU_ORDERS, "higher", "overlap of 1..{n}-gram multisets with real text"
    ),
    "lm": MetricInfo("near", "nats per token under an n-gram model of the training text", "lm"),
    "reverse_lm": MetricInfo(
        "lower", "nats per token of the references under an n-gram model of the samples",
        "reverse_lm",
    ),
    "fed": MetricInfo("lower", "Frechet distance of embeddings, extrapolated", "fed"),
    "mmd": MetricInfo("lower", "unbiased squared maximum mean discrepancy of embeddings", "mmd"),
    "c2st": MetricInfo("lower", "held-out accuracy of a classifier; .5: chance", "c2st", SHARE),
    "c2st_p": MetricInfo("higher", "p-value of that accuracy if both texts are real", "c2st"),
    "nearest_neighbour": MetricInfo(
        "near", "leave-one-out accuracy of the nearest neighbour; .5: chance", "nearest_neighbour"
    ),
    "mauve": MetricInfo(
        "higher", "area under the divergence curve of clustered embeddings", "mauve", SHARE
    ),
    "nll_gen": MetricInfo(
        "lower",
        "nats per token of held-out text under the generator, if it has a likelihood",
        "nll_gen",
        POSITIVE,
    ),
    "jsd": MetricInfo(
        "lower",
        "exact Jensen-Shannon divergence of corpus and generator in bits, at the last evaluation",
        "jsd",
        SHARE,
    ),
}  # fmt: skip

# The metrics of a training run, by which a study may rank.
METRICS: Mapping[str, MetricInfo] = {
    name: info for name, info in CATALOGUE.items() if GROUPS[info.group].in_runs and info.in_runs
}


def names_of(group: str) -> list[str]:
    """The metrics of a group."""
    return [name for name, info in CATALOGUE.items() if info.group == group]


def metric_info(key: str) -> MetricInfo:
    """The metric of a logged name, such as `eval/bleu_2` or `test/bleu_2`."""
    return METRICS[key.partition("/")[2]]


def has_curve(key: str) -> bool:
    """Whether every evaluation of a run measures it, not only the last."""
    return not GROUPS[metric_info(key).group].last_only


def ranking_metric(metric: str) -> str:
    """The metric, if variants can be ranked by it; ValueError otherwise."""
    if metric.removeprefix("eval/") not in METRICS or not metric.startswith("eval/"):
        raise ValueError("must be one of " + ", ".join(f"eval/{name}" for name in METRICS))
    if metric_info(metric).direction == "near":
        raise ValueError("is best near the value of real text, so it cannot rank variants")
    return metric
