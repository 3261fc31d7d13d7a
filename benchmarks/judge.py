"""How often the lower limit of `jsd_bound` exceeds the exact divergence: at most 5% of repeats.

    python -m benchmarks.judge [--n 250] [--repeats 200]

On the easy grammar, real text is compared with real text (JSD 0) and with text in which a known
share of the sentences has shuffled words (JSD exact). Prints one JSON document per dose: the exact
value, mean and standard deviation of the bound, and the share of repeats with a lower limit above
the exact value, also for the interval that counts the folds as independent.
"""

from __future__ import annotations

import argparse
import json
import math

import numpy as np

from core.metrics.fault_sources import GrammarText
from core.metrics.faults import FAULTS, planted
from core.metrics.judge import bounds, judged
from core.text.grammar import grammar

DOSES = (0.0, 0.02, 0.1)
FAULT = "shuffled_words"


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=250)
    parser.add_argument("--repeats", type=int, default=200)
    given = parser.parse_args()
    easy = grammar("easy")
    source = GrammarText(easy)
    for dose, exact in zip(DOSES, planted(FAULTS[FAULT], DOSES, source), strict=True):
        assert exact is not None
        values, above, independent = [], 0, 0
        for repeat in range(given.repeats):
            real = easy.sample(2 * given.n, 1000 + repeat)
            samples = FAULTS[FAULT](real[: given.n], dose, source, repeat)
            bits, fold, group = judged(samples, real[given.n :])
            found = bounds(bits, fold, group)
            assert found is not None
            values.append(bits.mean())
            above += found[0] > exact
            error = bits.std(ddof=1) / math.sqrt(len(bits))
            independent += bits.mean() - 1.96 * error > exact
        print(
            json.dumps(
                {
                    "n": given.n,
                    "repeats": given.repeats,
                    "dose": dose,
                    "exact": round(exact, 4),
                    "mean": round(float(np.mean(values)), 4),
                    "sd": round(float(np.std(values)), 4),
                    "lower_limit_above_exact": above / given.repeats,
                    "as_independent_folds": independent / given.repeats,
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
