"""Metrics of text files: one sentence a line, split on white space, nothing cleaned.

Means over sentences (BLEU, copies) carry a 95% bootstrap interval over the samples; a statistic of
the whole sample has none here (low and high are None).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.config import nearest
from core.errors import InputError
from core.metrics.bleu import bleu
from core.metrics.diversity import copied
from core.metrics.suite import METRICS, Suite
from core.text.readers import lines

GROUPS = ("bleu", "self_bleu", "distinct", "unique", "copied", "ms_jaccard")
LATER = ("fed", "mmd", "c2st", "nearest_neighbour", "lm", "reverse_lm", "oracle")
RESAMPLES = 2000


def evaluate_files(
    samples: Path,
    references: Path,
    held_out: Path | None = None,
    train: Path | None = None,
    groups: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The document of `textgan evaluate`: metrics, baselines, warnings."""
    names = _names(groups)
    ours, real = read_sentences(samples), read_sentences(references)
    warnings = []
    if held_out is not None:
        outside, compared = read_sentences(held_out), real
    else:
        half = len(real) // 2
        compared, outside = (real[:half], real[half:]) if half else (real, [])
        warnings.append(
            "no --held-out: the row of real text is the second half of the references against the "
            "first half, fewer references than the samples had"
        )
    training = read_sentences(train) if train is not None else []
    suite = Suite(real, training)
    values = suite.evaluate(ours)
    intervals = _intervals(ours, suite)
    baseline = (suite if compared is real else Suite(compared, training)).evaluate(outside)
    metrics = {
        name: {
            "value": values[name],
            "low": intervals.get(name, (None, None))[0],
            "high": intervals.get(name, (None, None))[1],
            "samples": len(ours),
            "references": len(real),
            "direction": METRICS[name].direction,
        }
        for name in names
    }
    return {
        "metrics": metrics,
        "baselines": {"real": {name: baseline[name] for name in names}, "mle": None, "ngram": None},
        "warnings": warnings,
    }


def read_sentences(path: Path) -> list[list[str]]:
    """Sentences of a file as words; an empty line is an empty sentence. InputError if no text."""
    sentences = [text.split() for _, text in lines(path)]
    if not any(sentences):
        raise InputError(f"{path}: no sentence in it")
    return sentences


def _names(groups: Sequence[str] | None) -> list[str]:
    for group in groups or ():
        if group in LATER:
            raise InputError(
                f"--metrics {group}: not in this version; there are {', '.join(GROUPS)}"
            )
        if group not in GROUPS:
            raise InputError(f"--metrics: no group {group!r}{nearest(group, GROUPS)}")
    chosen = groups or GROUPS
    return [name for name in METRICS if name in chosen or _group(name) in chosen]


def _group(name: str) -> str:
    stem, _, order = name.rpartition("_")
    return stem if order.isdigit() else name


def _intervals(
    samples: list[list[str]], suite: Suite
) -> dict[str, tuple[float | None, float | None]]:
    """Percentile bootstrap over the samples, with a fixed seed, of the means over sentences."""
    rng = np.random.default_rng(0)
    scores = {f"bleu_{n}": per_sentence for n, per_sentence in bleu(samples, suite.index).items()}
    if suite.training:
        scores["copied"] = copied(samples, suite.training).astype(float)
    found: dict[str, tuple[float | None, float | None]] = {}
    # How often each sample is drawn, in one multinomial a resample: no (resamples, N) of indices.
    n = len(samples)
    weights = np.stack([rng.multinomial(n, np.full(n, 1 / n)) for _ in range(RESAMPLES)]) / n
    for name, per_sentence in scores.items():
        low, high = np.quantile(weights @ per_sentence, [0.025, 0.975])
        found[name] = (float(low), float(high))
    return found
