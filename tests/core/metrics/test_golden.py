"""Values and intervals of every metric on one fixed text, as recorded in golden.json.

The coverage simulations, which are slow, say that the recorded formulas are right; this test says
that they are still the same. `python -m tests.core.metrics.test_golden` records them anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.metrics.bleu import PROTOCOLS
from core.metrics.catalogue import TEXT_GROUPS
from core.metrics.oracle import oracle
from core.metrics.suite import Suite
from core.text.build import build_corpus
from core.text.grammar import grammar
from core.text.oracles import LstmOracle
from core.text.settings import CorpusSettings

GOLDEN = Path(__file__).parent / "golden.json"
Row = list[float | None]


def text() -> tuple[list[list[str]], list[list[str]], list[list[str]]]:
    """Samples with repetitions, copies, wrong words and an empty sentence; references; training."""
    source, rng = grammar("easy"), np.random.default_rng(0)
    training, references = source.sample(400, 1), source.sample(330, 2)
    samples = [list(s) for s in [*source.sample(280, 3), *training[:20], *source.sample(25, 3)]]
    words = sorted({word for sentence in training for word in sentence})
    for sentence in samples[::7]:
        sentence[rng.integers(len(sentence))] = words[rng.integers(len(words))]
    return [*samples, [], *samples[:6]], references, training


def measured() -> dict[str, Row]:
    samples, references, training = text()
    suite = Suite(references, training, grammar("easy"))
    # The judge's network depends on the last digits of every operation: see test_judge.py.
    found = suite.measures(samples, [group for group in TEXT_GROUPS if group != "jsd_bound"])
    for protocol in PROTOCOLS:
        for name, measure in suite.published(samples, protocol).items():
            found[f"{protocol} {name}"] = measure
    found["mass_covered of 1000"] = oracle(grammar("easy").sample(1000, 4), grammar("easy"))[
        "mass_covered"
    ]
    return {name: [m.value, *(m.interval() or (None, None))] for name, m in found.items()}


@pytest.fixture(scope="module")
def golden() -> dict[str, dict[str, Row]]:
    found: dict[str, dict[str, Row]] = json.loads(GOLDEN.read_text())
    return found


def test_values_and_intervals_are_the_recorded_ones(golden: dict[str, dict[str, Row]]) -> None:
    found = measured()
    assert found.keys() == golden["metrics"].keys()
    for name, expected in golden["metrics"].items():
        # Embeddings depend on the last digits of a linear algebra library.
        embedded = name in ("fed", "mmd", "nearest_neighbour")
        limits = {"rel": 1e-4, "abs": 1e-6} if embedded else {"rel": 1e-9}
        for number, recorded in zip(found[name], expected, strict=True):
            if recorded is None:
                assert number is None, name
            else:
                assert number == pytest.approx(recorded, **limits), name


def test_generated_corpora_are_the_recorded_ones(
    tmp_path: Path, golden: dict[str, dict[str, Row]]
) -> None:
    assert fingerprint(tmp_path) == golden["fingerprint"]
    assert lstm_nll() == pytest.approx(golden["lstm_nll"], rel=1e-4)


def fingerprint(folder: Path) -> str:
    settings = CorpusSettings(sentences=300, max_words=8)
    return build_corpus(settings, folder / "grammar").fingerprint


def lstm_nll() -> list[float]:
    """Of the same words under three languages."""
    nll = [LstmOracle(8, seed).nll([[f"w{i:04d}" for i in range(8)]]) for seed in range(3)]
    return [float(each[0]) for each in nll]


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as temporary:
        found = {"metrics": measured(), "lstm_nll": lstm_nll()}
        found["fingerprint"] = fingerprint(Path(temporary))
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
