"""The exact Jensen-Shannon divergence: against enumeration of all strings, and by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from core.interfaces import Generator, SamplingSpec
from core.text import oracles
from core.text.corpus import CorpusSettings
from core.text.oracles import CorpusDistribution, LstmOracle, corpus_distribution
from core.text.vocabulary import SPECIALS, Vocabulary
from core.training.jsd import generator_jsd, jsd
from core.training.nll_gen import sentence_nll
from core.training.players import build_generator, sampling_spec
from core.types import END, PAD
from experiments.generate import SentenceSampler
from tests.conftest import tiny
from tests.core.text.test_grammar import AMBIGUOUS, enumerate_sentences
from variants import registry

EXPLICIT = (
    "generator.name=lstm",
    "next_input.name=last_token",
    "next_input.first=start",
    "noise_mapping.name=none",
    "sampling.name=straight_through",
)


def test_by_hand() -> None:
    """P = (1/2, 1/2, 0) and G = (1/2, 0, 1/2): half of each has no place in the other."""
    found = jsd(np.array([0.0, -np.inf]), np.array([0.0, np.inf]))
    assert found.value == pytest.approx(0.5)
    assert jsd(np.zeros(9), np.zeros(5)).value == 0
    assert jsd(np.full(9, -np.inf), np.full(5, np.inf)).value == 1
    # P = (3/4, 1/4), G = (1/4, 3/4): 1 - H(1/4) = .1887 bits, from samples in these proportions.
    ratios = np.log(3) * np.array([1, -1, -1, -1])
    assert jsd(ratios, -ratios).value == pytest.approx(1 - (2 - 0.75 * math.log2(3)))
    assert jsd(np.array([np.nan]), np.zeros(5)).reason
    assert jsd(np.empty(0), np.zeros(5)).reason


@pytest.mark.parametrize("shift", [0.3, 8.0], ids=["near", "hardly any sentence of P"])
def test_its_interval_covers(shift: float) -> None:
    rng = np.random.default_rng(0)
    log_p = np.log(rng.dirichlet(np.ones(30)))
    log_g = log_p + shift * rng.normal(size=30)
    log_g -= np.logaddexp.reduce(log_g)
    p, g, ratio = np.exp(log_p), np.exp(log_g), log_p - log_g
    middle = np.log((p + g) / 2)
    true = (p @ (log_p - middle) + g @ (log_g - middle)) / 2 / np.log(2)
    covered = []
    for _ in range(500):
        found = jsd(ratio[rng.choice(30, 80, p=g)], ratio[rng.choice(30, 80, p=p)])
        low, high = found.interval() or (0.0, 0.0)
        covered.append(low <= true <= high)
    assert 0.92 <= np.mean(covered) <= 0.98


def test_its_interval_where_no_sentence_is_of_p() -> None:
    """Of 200 sentences none has P > 0, which can be chance up to a share of 1.5%."""
    low, high = jsd(np.full(200, -np.inf), np.full(200, np.inf)).interval() or (0.0, 0.0)
    assert 0.985 < low < 0.995
    assert high >= 1


def small(words: str, length: int) -> tuple[Generator, SamplingSpec, Vocabulary]:
    """A generator whose control tokens are rarer than its words."""
    config = tiny(f"model.length={length}", *EXPLICIT)
    vocabulary = Vocabulary((*SPECIALS, *words.split()))
    generator = build_generator(config, registry(), len(vocabulary))
    with torch.no_grad():
        generator.head.bias[[0, 1, 3]] -= 2
        generator.head.bias[END] += 1 if "w0000" not in words else -2
    return generator, sampling_spec(config, registry(), 1.0), vocabulary


def events(V: int, length: int) -> np.ndarray:
    """Every string of V tokens up to its end token, or of `length` tokens: (strings, length)."""
    others = [token for token in range(V) if token != END]
    rows = list(itertools.product(others, repeat=length))
    for words in range(length):
        for string in itertools.product(others, repeat=words):
            rows.append((*string, END, *[PAD] * (length - words - 1)))
    return np.array(rows)


@pytest.mark.parametrize("source", ["grammar", "lstm_oracle"])
def test_equals_enumeration(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracles, "WORDS", 5)
    if source == "grammar":
        words, length, oracle = "x z", 4, AMBIGUOUS  # without the word y, at most three words
        kept = {s: p for s, p in enumerate_sentences(AMBIGUOUS).items() if "y" not in s}
    else:
        words, length, oracle = " ".join(f"w000{i}" for i in range(5)), 3, LstmOracle(3)
        every = list(itertools.product(oracle.words, repeat=3))
        kept = dict(zip(every, np.exp(-3 * oracle.nll(every)), strict=True))
        assert sum(kept.values()) == pytest.approx(1, abs=1e-5)
    total = sum(kept.values())
    generator, spec, vocabulary = small(words, length)
    settings = CorpusSettings(source=source)
    distribution = corpus_distribution(oracle, settings, length - 1, set(vocabulary.words))
    assert distribution is not None
    rows = events(len(vocabulary), length)
    g = np.exp(-sentence_nll(generator, rows)[0])
    assert g.sum() == pytest.approx(1, abs=1e-5)
    ended = (rows == END).any(1) == (source == "grammar")
    clean = ~((rows == 1) | ((rows == PAD).cumsum(1) > 0) & (rows != PAD)).any(1)
    p = np.zeros(len(rows))
    for i in np.flatnonzero(ended & clean):
        string = rows[i][: list(rows[i]).index(END)] if source == "grammar" else rows[i]
        p[i] = kept.get(tuple(vocabulary.words[t] for t in string), 0) / total
    assert p.sum() == pytest.approx(1, abs=1e-5)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(q > 0, q * np.log2(2 * q / (p + g)), 0).sum() for q in (p, g)]
    exact = sum(parts) / 2
    assert 0.05 < exact < 0.95
    drawn = SentenceSampler(generator, spec, vocabulary).rows(4000, 1.0, 0, "test")
    references = distribution.sample(4000, 1)
    found = generator_jsd(generator, spec, drawn, vocabulary, distribution, references)
    low, high = found.interval() or (0.0, 0.0)
    assert low < exact < high
    assert high - low < 0.05


def test_the_corpus_distribution_is_conditioned_on_what_is_kept() -> None:
    mass = enumerate_sentences(AMBIGUOUS)
    found = corpus_distribution(AMBIGUOUS, CorpusSettings(min_words=2), 3, {"x", "z", "<unk>"})
    assert found is not None
    kept = {s: p for s, p in mass.items() if 2 <= len(s) <= 3 and "y" not in s}
    assert 0 < len(kept) < len(mass)
    expected = [math.log(p / sum(kept.values())) for p in kept.values()]
    assert found.log_prob([*kept]) == pytest.approx(np.array(expected), abs=1e-12)
    others = [s for s in mass if s not in kept]
    assert (found.log_prob([*others, ("<unk>", "x"), ()]) == -np.inf).all()
    drawn = found.sample(2000, 0)
    assert {tuple(s) for s in drawn} <= set(kept)
    assert found.sample(7, 0) == drawn[:7]


def test_a_corpus_whose_probabilities_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def known(oracle: oracles.Oracle | None, words: str, **settings: object) -> bool:
        found = corpus_distribution(oracle, CorpusSettings(**settings), 9, set(words.split()))  # type: ignore[arg-type]
        return isinstance(found, CorpusDistribution)

    monkeypatch.setattr(oracles, "WORDS", 2)
    assert not known(None, "x y z")
    assert not known(AMBIGUOUS, "x y z", duplicates="drop")
    assert not known(AMBIGUOUS, "x z", unknown="unk")
    assert known(AMBIGUOUS, "x y z", unknown="unk")
    assert known(LstmOracle(3), "w0000 w0001")
    assert not known(LstmOracle(3), "w0000")
