"""BLEU-2..5 and Self-BLEU-2..5 of 10,000 sentences against 10,000, beside NLTK on a few of them,
scaled up, and fast-bleu where it is installed.
"""

from __future__ import annotations

import importlib
import warnings

from benchmarks.captions import captions
from benchmarks.measure import Times, show, times
from core.metrics.bleu import ReferenceIndex, bleu, self_bleu
from core.metrics.catalogue import BLEU_ORDERS

SENTENCES = 10_000
FEW = 2  # hypotheses that NLTK is given
SOME = 2_000  # sentences that fast-bleu is given


def texts(repeats: int) -> None:
    """`bleu`."""
    references, origin = captions("coco_train.txt", SENTENCES)
    hypotheses, _ = captions("coco_test.txt", SENTENCES)

    def ours() -> None:
        bleu(hypotheses, ReferenceIndex(references))
        self_bleu(hypotheses)

    bleu(hypotheses[:2], ReferenceIndex(references[:2]))  # compiled, if it never was
    self_bleu(hypotheses[:2])
    fast = times(ours, repeats)
    nltk = times(lambda: plain(hypotheses, references), 1)
    scale = len(hypotheses) / FEW
    slow = Times(nltk.cpu * scale, nltk.wall * scale, 1)
    unit = f"seconds, {len(hypotheses):,} x {len(references):,} {origin}; NLTK scaled from {FEW}"
    show("bleu", fast, slow, unit, fast_bleu=compiled(hypotheses, references, fast))


def plain(hypotheses: list[list[str]], references: list[list[str]]) -> None:
    """NLTK's own, as published comparisons call it: once an order."""
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    smooth = SmoothingFunction().method1
    for n in BLEU_ORDERS:
        for place in range(FEW):
            weights, others = [1 / n] * n, hypotheses[:place] + hypotheses[place + 1 :]
            sentence_bleu(references, hypotheses[place], weights, smooth)
            sentence_bleu(others, hypotheses[place], weights, smooth)


def compiled(
    hypotheses: list[list[str]], references: list[list[str]], ours: Times
) -> dict[str, object] | str:
    """fast-bleu on all references and `SOME` sentences, scaled up."""
    try:
        theirs = importlib.import_module("fast_bleu")
    except ImportError:
        return "not installed"
    weights = {n: [1 / n] * n for n in BLEU_ORDERS}

    def work() -> None:
        theirs.BLEU(references, weights).get_score(hypotheses[:SOME])

    def of_themselves() -> None:
        theirs.SelfBLEU(hypotheses[:SOME], weights).get_score()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scale = len(hypotheses) / SOME
        # Each sentence against all: linear in the one, quadratic in the other.
        seconds = times(work, 1).cpu * scale + times(of_themselves, 1).cpu * scale**2
    return {"seconds": seconds, "ratio": seconds / ours.cpu, "measured_on": SOME}
