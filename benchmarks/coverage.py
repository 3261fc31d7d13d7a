"""How often the 95% interval of each metric holds what it is an interval of.

    python -m benchmarks.coverage [--draws 300] [CASE ...]

Of each case many samples are drawn from one source, and what is counted is how many of their
intervals hold the mean of all values: the metric's expectation at this sample size. One JSON
document a metric and case, with how many intervals lay wholly above and wholly below it: the
tables of docs/howto/metrics.md. The tests repeat most of it with fewer draws; this takes some seven
minutes of one core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from functools import cache, partial

import numpy as np

from benchmarks.evaluation import pooled
from core.metrics.encoders import WordOrder
from core.metrics.fed import fed
from core.metrics.intervals import Measure
from core.metrics.kneser_ney import KneserNey
from core.metrics.mmd import mmd
from core.metrics.ngrams import Sentence
from core.metrics.suite import Suite
from core.text.grammar import grammar

DRAWS = 300
POOL = 40_000  # sentences of a grammar that stand for all of it
TRAINING = 8_000  # captions that the encoder and the n-gram model are fitted on
COUNTED = ("copied", "novelty", "length", "unique", "distinct", "ngram_entropy", "bleu",
           "self_bleu", "ms_jaccard", "lm")  # fmt: skip
Found = Mapping[str, Measure]
Draw = Callable[[np.random.Generator], Found]
Text = list[Sentence]


@cache
def source(name: str) -> Text:
    """All sentences of a source."""
    if name == "captions":
        return [*pooled()[0]]
    return [*grammar(name).sample(POOL, 1)]


@cache
def embedded() -> dict[str, np.ndarray]:
    """Captions that the encoder was not fitted on, and sentences of an n-gram model, (n, 64)."""
    text = source("captions")
    training, rest = text[:TRAINING], text[TRAINING:]
    written = KneserNey(training).sample(len(rest), np.random.default_rng(0))
    encoder = WordOrder(training)
    return {"captions": encoder(rest), "n-gram model": encoder(written)}


def picked(pool: Text, n: int, rng: np.random.Generator) -> Text:
    """N sentences of a pool, each drawn from all of it."""
    return [pool[i] for i in rng.integers(0, len(pool), n)]


def of_samples(name: str, n: int, rng: np.random.Generator) -> Found:
    """Metrics of n sentences against 1,000 references that stay, and a training text."""
    return _suite(name).measures(picked(source(name), n, rng), COUNTED)


def of_the_grammar(n: int, rng: np.random.Generator) -> Found:
    """What the grammar knows of n sentences, three tenths of them reversed."""
    drawn = [s[::-1] if rng.random() < 0.3 else s for s in picked(source("easy"), n, rng)]
    found = Suite([["a"]], (), grammar("easy")).measures(drawn, ["oracle"])
    return {name: measure for name, measure in found.items() if name != "entropy"}


def of_both(name: str, group: str, n: int, m: int, rng: np.random.Generator) -> Found:
    """Metrics of two texts of one source, both drawn anew."""
    text = source(name)
    suite = Suite(picked(text, m, rng), (), encoder=_fitted(name))
    found = suite.measures(picked(text, n, rng), [group])
    return {metric: measure for metric, measure in found.items() if metric != "c2st_p"}


def of_embeddings(name: str, other: str, n: int, m: int, rng: np.random.Generator) -> Found:
    """A squared distance of captions and a text, both drawn anew."""
    x, y = embedded()[other], embedded()["captions"]
    ours, theirs = x[rng.integers(0, len(x), n)], y[rng.integers(0, len(y), m)]
    return {name: {"fed": fed, "mmd": mmd}[name](ours, theirs)}


@cache
def _suite(name: str) -> Suite:
    rng = np.random.default_rng(1)
    return Suite(picked(source(name), 1000, rng), picked(source(name), 2000, rng))


@cache
def _fitted(name: str) -> WordOrder:
    return WordOrder(source(name)[:TRAINING])


CASES: Mapping[str, tuple[str, str, Draw]] = {
    **{
        f"{name}_{n}": (f"{name}", f"{n:,}", partial(of_samples, name, n))
        for name, n in (("captions", 500), ("captions", 1000), ("default", 500), ("easy", 500))
    },
    "grammar_1000": ("easy, .3 reversed", "1,000", partial(of_the_grammar, 1000)),
    **{
        f"{metric}_{other}_{n}x{m}".replace(" model", ""): (
            "captions" if other == "captions" else f"{other} and captions", f"{n:,} x {m:,}",
            partial(of_embeddings, metric, other, n, m),
        )
        for metric, n, m in (("fed", 500, 500), ("fed", 1000, 1000), ("fed", 500, 2000),
                             ("mmd", 500, 500))
        for other in ("captions", "n-gram model")
    },
    "nearest_200": ("captions", "200 x 200", partial(of_both, "captions", "nearest_neighbour",
                                                     200, 200)),
    "c2st_200": ("captions", "200 x 200", partial(of_both, "captions", "c2st", 200, 200)),
    "reverse_lm": ("easy", "300 x 300", partial(of_both, "easy", "reverse_lm", 300, 300)),
}  # fmt: skip


def main() -> None:
    """Count."""
    parser = argparse.ArgumentParser(description="coverage of the metrics' 95% intervals")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--draws", type=int, default=DRAWS)
    asked = parser.parse_args()
    for name in asked.cases:
        if name not in CASES:
            parser.error(f"no case {name!r}; there are {', '.join(CASES)}")
    for name in asked.cases or CASES:
        text, sentences, draw = CASES[name]
        rng = np.random.default_rng(0)
        found = [(m, v, v.interval()) for _ in range(asked.draws) for m, v in draw(rng).items()]
        for metric in dict.fromkeys(m for m, *_ in found):
            measured = [(v.value, bounds) for m, v, bounds in found if m == metric]
            said = {"metric": metric, "case": name, "source": text, "sentences": sentences}
            print(json.dumps(said | counted(measured)), flush=True)


def counted(measured: list[tuple[float | None, tuple[float, float] | None]]) -> dict[str, float]:
    """Of values and their intervals: how many intervals there are, and where they lie."""
    true = float(np.mean([value for value, _ in measured if value is not None]))
    bounds = np.array([found for _, found in measured if found is not None]).reshape(-1, 2)
    above, below = float(np.mean(bounds[:, 0] > true)), float(np.mean(bounds[:, 1] < true))
    return {"draws": len(bounds), "expectation": true, "coverage": 1 - above - below,
            "above": above, "below": below}  # fmt: skip


if __name__ == "__main__":
    main()
