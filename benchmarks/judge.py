"""How often the lower limit of `jsd_bound` exceeds the exact divergence: at most 5% of repeats.

    python -m benchmarks.judge [--n 250,1000] [--repeats 200]

On the easy grammar, real text is compared with real text (JSD 0) and with text in which a known
share of the sentences has shuffled words (JSD exact). `results/judge/limit.json` has a row for each
number of sentences and each share: the exact value, mean and standard deviation of the bound, and
the share of repeats with a lower limit above the exact value, also for the interval that counts the
folds as independent. `make results` shows it on the page of the metric laboratory.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from core.metrics.catalogue import GROUPS
from core.metrics.fault_sources import GrammarText
from core.metrics.faults import FAULTS, planted
from core.metrics.judge import bounds, judged
from core.text.grammar import grammar

OUTPUT = Path(__file__).parents[1] / "results" / "judge" / "limit.json"
DOSES = (0.0, 0.1, 0.3, 1.0)
FAULT = "shuffled_words"


def measured(n: int, repeats: int) -> Iterator[dict[str, float]]:
    """A row for each dose."""
    easy = grammar("easy")
    source = GrammarText(easy)
    for dose, exact in zip(DOSES, planted(FAULTS[FAULT], DOSES, source), strict=True):
        assert exact is not None
        values, above, independent = [], 0, 0
        for repeat in range(repeats):
            real = easy.sample(2 * n, 1000 + repeat)
            samples = FAULTS[FAULT](real[:n], dose, source, repeat)
            bits, fold, group = judged(samples, real[n:])
            found = bounds(bits, fold, group)
            assert found is not None
            values.append(bits.mean())
            above += int(found[0] > exact)
            error = bits.std(ddof=1) / math.sqrt(len(bits))
            independent += int(bits.mean() - 1.96 * error > exact)
        yield {
            "version": GROUPS["jsd_bound"].version,
            "n": n,
            "repeats": repeats,
            "dose": dose,
            "exact": round(exact, 4),
            "mean": round(float(np.mean(values)), 4),
            "sd": round(float(np.std(values, ddof=1)), 4),
            "above": above,
            "above_as_independent": independent,
        }


def main() -> None:
    """Measure; rows of other numbers of sentences stay."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", default="250,1000", help="sentences of each text")
    parser.add_argument("--repeats", type=int, default=200)
    given = parser.parse_args()
    kept = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else []
    for n in map(int, given.n.split(",")):
        kept = [row for row in kept if row["n"] != n]
        for row in measured(n, given.repeats):
            kept.append(row)
            print(json.dumps(row), flush=True)
            OUTPUT.parent.mkdir(parents=True, exist_ok=True)
            lines = ",\n".join(map(json.dumps, sorted(kept, key=lambda row: row["n"])))
            OUTPUT.write_text(f"[{lines}]\n")


if __name__ == "__main__":
    main()
