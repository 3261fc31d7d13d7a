"""Published protocols against NLTK, on the sentences that each takes."""

from __future__ import annotations

import numpy as np
import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from core.errors import InputError
from core.metrics.bleu import PROTOCOLS
from core.metrics.files import Inputs, check_protocol, evaluate
from core.text.grammar import grammar

SMOOTH = SmoothingFunction().method1
POOL = grammar("easy").sample(1400, 3)
SAMPLES, REFERENCES = POOL[:600], POOL[600:1300]


def nltk(hypotheses: list[list[str]], references: list[list[list[str]]], n: int) -> float:
    return float(np.mean([
        sentence_bleu(r, h, [1 / n] * n, smoothing_function=SMOOTH)
        for h, r in zip(hypotheses, references, strict=True)
    ]))  # fmt: skip


def values(protocol: str, samples: list[list[str]], references: list[list[str]]) -> list[float]:
    found = PROTOCOLS[protocol].measure(samples, references)
    return [found[f"{name}_3"].value or 0.0 for name in ("bleu", "self_bleu")]


def test_each_protocol_takes_its_sentences() -> None:
    few, references = SAMPLES[:230], REFERENCES[:30]
    first = few[:200]
    against = nltk(first, [references] * 200, 3)
    exact = {"abs": 1e-12}
    apart = nltk(first, [few[200:]] * 200, 3)
    assert values("textgan", few, references) == pytest.approx([against, apart], **exact)
    assert values("relgan", few, references) == pytest.approx([against, 1.0], **exact)
    some = SAMPLES[:20]
    texygen = values("texygen", some, REFERENCES)
    among = nltk(some, [some[:i] + some[i + 1 :] for i in range(20)], 3)
    assert texygen == pytest.approx([nltk(some, [REFERENCES[:500]] * 20, 3), among], **exact)
    assert values("scratchgan", some, REFERENCES)[0] > texygen[0]  # all 700, not 500
    assert values("texygen", SAMPLES, REFERENCES)[1] == values("texygen", SAMPLES[:500], [["a"]])[1]


def test_a_protocol_says_its_defect_and_what_it_needs() -> None:
    found = evaluate(Inputs(SAMPLES[:50], REFERENCES[:60], protocol="relgan"))
    assert set(found.metrics) == {f"{g}_{n}" for g in ("bleu", "self_bleu") for n in (2, 3, 4, 5)}
    assert any("is 1 for every sentence of n words or more" in w for w in found.warnings)
    own = PROTOCOLS["relgan"].measure([["a", "b", "c"]] * 200, REFERENCES)
    assert own["self_bleu_3"].value == 1.0
    assert own["self_bleu_4"].value == pytest.approx(0.1 ** (1 / 4)), "no 4-gram to find"
    assert any("takes 200 samples" in warning for warning in found.warnings)
    with pytest.raises(InputError, match="did you mean 'relgan'"):
        check_protocol("relgen", None)
    with pytest.raises(InputError, match="leave out --metrics"):
        check_protocol("relgan", ["bleu"])
