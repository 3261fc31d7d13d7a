"""Word coverage: the share of the references' distinct words that occur in the samples.

Direction: higher. It grows with the number of samples and falls with the number of references, so
compare equal numbers. It says nothing about the order of words.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.metrics.plugins import PluginMetric


def word_coverage(
    samples: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
) -> float | None:
    """The share, 0 to 1; None where the references have no words."""
    known = {word for sentence in references for word in sentence}
    used = {word for sentence in samples for word in sentence}
    return len(known & used) / len(known) if known else None


WORD_COVERAGE = PluginMetric(
    word_coverage,
    summary="share of the references' distinct words that occur in the samples",
    direction="higher",
    bounds=(0.0, 1.0),
)
