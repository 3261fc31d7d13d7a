"""`length`: mean number of words of a sentence, empty sentences included.

Near to that of real text is better: a generator that stops early or never stops is seen here before
anywhere else, and most other metrics lean on it (BLEU has a brevity penalty, a longer sentence has
more n-grams to repeat). It does not depend on the sample size. Interval: Student's t.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.metrics.intervals import Measure, mean
from core.metrics.ngrams import Sentence


def length(sentences: Sequence[Sentence], references: int) -> Measure:
    """Of one sentence or more, beside a number of references."""
    lengths = np.array([len(sentence) for sentence in sentences], dtype=float)
    return Measure(float(lengths.mean()), len(sentences), references, mean(lengths))
