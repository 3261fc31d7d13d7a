"""Every metric and every group of metrics, as `catalogue.toml` describes them.

A group is computed together, and `textgan evaluate --metrics` takes its name. `plugins` adds the
metrics of other packages. This module imports nothing of ours, so that the configuration can check
a metric's name.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Direction = Literal["higher", "lower", "near"]
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
    needs_words: bool = False  # whether text without words would get good values
    rewards_nonsense: bool = False  # whether random words, or one word, can beat real text
    version: int = 1  # of the definitions; a change of values raises it
    fixed: tuple[str, ...] = ()  # `key:value` parts of the signature that are always the same
    orders: tuple[int, ...] = ()  # n of n-grams; each of its metrics exists for every n


@dataclass(frozen=True)
class MetricInfo:
    """A metric. Direction "near": the closer to the value of real text, the better."""

    direction: Direction
    summary: str
    group: str
    bounds: tuple[float, float] = (-math.inf, math.inf)  # of its values
    in_runs: bool = True  # False: not measured in runs even if its group is

    @property
    def better(self) -> Direction:
        """What a reader should prefer: near real text if nonsense can exceed it."""
        return "near" if GROUPS[self.group].rewards_nonsense else self.direction

    @property
    def worst(self) -> float | None:
        """The value of a run without samples; None if the metric has no worst value."""
        end = self.bounds[0 if self.direction == "higher" else 1]
        return end if self.direction != "near" and math.isfinite(end) else None


GROUPS: dict[str, GroupInfo] = {}
CATALOGUE: dict[str, MetricInfo] = {}


def _fill(tables: Mapping[str, Mapping[str, Any]]) -> None:
    """Fill both from the tables of the groups."""
    for group, table in tables.items():
        info: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in table.items()
        }
        metrics = info.pop("metrics")
        GROUPS[group] = GroupInfo(**info)
        for name, about in metrics.items():
            about |= {"group": group, "bounds": tuple(about.get("bounds", MetricInfo.bounds))}
            for n in GROUPS[group].orders or (0,):
                summary = about["summary"].format(n=n)
                CATALOGUE[name.format(n=n)] = MetricInfo(**{**about, "summary": summary})


_fill(tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")))
BLEU_ORDERS, NGRAM_ORDERS = GROUPS["bleu"].orders, GROUPS["distinct"].orders
# What `textgan evaluate` computes unless told otherwise.
TEXT_GROUPS = tuple(
    group for group, info in GROUPS.items() if not (info.generator or info.optional)
)
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


def checkpoint_key(key: str, rule: str) -> str:
    """The logged name of the same metric at the checkpoint that a rule picks: `eval_best/bleu_2`;
    that of the last checkpoint is the name itself.
    """
    split, _, name = key.partition("/")
    return key if rule == "last" else f"{split}_{rule}/{name}"


def ranking_metric(metric: str) -> str:
    """The metric, if variants can be ranked by it; ValueError otherwise."""
    if metric.removeprefix("eval/") not in METRICS or not metric.startswith("eval/"):
        raise ValueError("must be one of " + ", ".join(f"eval/{name}" for name in METRICS))
    if metric_info(metric).direction == "near":
        raise ValueError("is best near the value of real text, so it cannot rank variants")
    return metric


def with_curve(metric: str) -> str:
    """The metric, if it can rank and every evaluation computes it; ValueError otherwise."""
    if not has_curve(ranking_metric(metric)):
        raise ValueError("is computed at the last evaluation only; take eval/fed")
    return metric
