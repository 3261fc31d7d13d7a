"""Sentences to vectors: the slot for the encoder of FED, MMD, nearest neighbours and MAUVE.

`WordOrder`, the default, is built in, deterministic, and fitted on the training text (of a longer
one on FITTED_ON evenly spaced sentences). A vector has two parts.

- 8 numbers for each distance g = 1, 2, 3 between words. Let n_ab count how often word b follows
  word a at distance g in the training text, and n_a, n_b how often each does so with any word. The
  matrix n_ab^(1/2) / (n_a n_b)^(1/4) is factored into u_a . v_b by a truncated singular value
  decomposition (Stratos, Collins & Hsu 2015). The numbers are the means of u_a * v_b, element by
  element, over the sentence's pairs at distance g; the begin and the end of a sentence are words
  too. Pairs in an order that the training text does not have move these means.
- 40 numbers of `BagOfWords`.

The first part is scaled to the total variance that the second has on the training text.

`BagOfWords` (`--encoder bag_of_words`): TF-IDF of word 1- and 2-grams of the training text, each
sentence of length one, projected on the first E right singular vectors (latent semantic analysis,
Deerwester et al. 1990). It sees topic and wording, and hardly sees word order.

`SentenceTransformer` wraps a pretrained model of the library of that name (Reimers & Gurevych
2019), an optional extra. Values of two encoders cannot be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from scipy import sparse

from core.errors import InputError, first_line
from core.metrics.ngrams import NgramTable, Text
from core.metrics.signature import text_signature
from core.text.corpus import spaced

DIMENSIONS = 64  # E of the bag of words
GAPS = (1, 2, 3)  # distances between the words of a pair
FACTORS, BAG = 8, 40  # numbers for each distance, and of the bag of words, of `WordOrder`
FITTED_ON = 20_000  # training sentences at most, evenly spaced
FEATURES = 50_000
CHUNK = 20_000  # sentences encoded at a time


class Encoder(Protocol):
    """A fixed map from sentences to vectors."""

    @property
    def name(self) -> str:
        """What it is, for signatures: values of encoders of other names cannot be compared."""

    def __call__(self, sentences: Text) -> np.ndarray:
        """Embeddings of sentences as words: float32 (sentences, E)."""


class BagOfWords:
    """Latent semantic analysis, fitted on some sentences."""

    KIND = "bag_of_words:2"  # with the version

    def __init__(self, training: Text, dimensions: int = DIMENSIONS) -> None:
        from sklearn.utils.extmath import randomized_svd

        self.name = f"{self.KIND}:{text_signature(training)}"
        training = [training[i] for i in spaced(len(training), FITTED_ON)]
        self._table = NgramTable(training, 2)
        shared = []
        for n, counts in enumerate(self._table.count(training), start=1):
            shared.append(np.bincount(counts.gram, minlength=self._table.size(n)))
        found = np.concatenate(shared)
        kept = np.flatnonzero(found >= 2)
        kept = np.sort(kept[np.argsort(-found[kept], kind="stable")][:FEATURES])
        self._column = np.full(len(found), -1)
        self._column[kept] = np.arange(len(kept))
        self._weight = np.log((1 + len(training)) / (1 + found[kept])) + 1
        matrix = sparse.vstack(list(self._features(training)), format="csr")
        size = min(dimensions, *(max(side - 1, 1) for side in matrix.shape))
        self._axes = np.zeros((matrix.shape[1], size), dtype=np.float32)
        if matrix.nnz:
            _, _, axes = randomized_svd(matrix, size, n_iter=4, random_state=0)
            self._axes = np.ascontiguousarray(axes.T, dtype=np.float32)

    def __call__(self, sentences: Text) -> np.ndarray:
        """See `Encoder`."""
        parts = [np.asarray(rows @ self._axes) for rows in self._features(sentences)]
        return np.concatenate(parts) if parts else np.zeros((0, self._axes.shape[1]), np.float32)

    def _features(self, sentences: Text) -> Iterator[sparse.csr_array]:
        for start in range(0, len(sentences), CHUNK):
            chunk = sentences[start : start + CHUNK]
            parts, base = [], 0
            for n, level in enumerate(self._table.count(chunk), start=1):
                column = self._column[base + level.gram]
                known = column >= 0
                parts.append((level.sentence[known], column[known], level.count[known]))
                base += self._table.size(n)
            row, column, count = map(np.concatenate, zip(*parts, strict=True))
            value = count * self._weight[column]
            length = np.sqrt(np.bincount(row, value**2, minlength=len(chunk)))
            value = (value / length[row]).astype(np.float32)
            yield sparse.csr_array((value, (row, column)), shape=(len(chunk), len(self._weight)))


class WordOrder:
    """The default encoder, fitted on some sentences."""

    KIND = "word_order:2"

    def __init__(self, training: Text) -> None:
        self.name = f"{self.KIND}:{text_signature(training)}"
        some = [training[i] for i in spaced(len(training), FITTED_ON)]
        self._bag = BagOfWords(some, BAG)
        self._words = NgramTable(some, 1)
        flat = next(self._words.ids(some))
        found = np.bincount(flat, minlength=self._words.size(1))
        # Row of each word's id; a word seen once shares row 0 with unknown words. 1: begin and end.
        self._row = np.append(np.where(found >= 2, np.arange(len(found)) + 2, 0), 0)
        tokens, sentence = self._marked(some)
        self._factors = [
            _factors(*_pairs(tokens, sentence, gap)[:2], len(found) + 2) for gap in GAPS
        ]
        self._scale = 1.0
        pairs, bag = self._of_pairs(some).var(axis=0).sum(), self._bag(some).var(axis=0).sum()
        if pairs > 0 and bag > 0:
            self._scale = float(np.sqrt(bag / pairs))

    def __call__(self, sentences: Text) -> np.ndarray:
        """See `Encoder`."""
        parts = [
            self._of_pairs(sentences[start : start + CHUNK]) * self._scale
            for start in range(0, max(len(sentences), 1), CHUNK)
        ]
        both = [np.concatenate(parts), self._bag(sentences)]
        return np.concatenate(both, axis=1).astype(np.float32)

    def _of_pairs(self, sentences: Text) -> np.ndarray:
        """The mean products of factors, (sentences, FACTORS len(GAPS)); zero without pairs."""
        tokens, sentence = self._marked(sentences)
        n, parts = len(sentences), []
        for gap, (left, right) in zip(GAPS, self._factors, strict=True):
            first, second, owner = _pairs(tokens, sentence, gap)
            products = left[first] * right[second]
            average = sparse.csr_array((np.ones(len(owner)), (owner, np.arange(len(owner)))),
                                       shape=(n, len(owner)))  # fmt: skip
            counts = np.bincount(owner, minlength=n)
            parts.append((average @ products) / np.maximum(counts, 1)[:, None])
        return np.concatenate(parts, axis=1)

    def _marked(self, sentences: Text) -> tuple[np.ndarray, np.ndarray]:
        """Rows of all words with a mark before and after each sentence, and their sentences."""
        lengths = np.fromiter(map(len, sentences), np.int64, len(sentences))
        rows = self._row[next(self._words.ids(sentences))]
        ends = np.cumsum(lengths)
        places = np.stack([ends - lengths, ends], axis=1).ravel()
        return np.insert(rows, places, 1), np.repeat(np.arange(len(lengths)), lengths + 2)


def _pairs(
    tokens: np.ndarray, sentence: np.ndarray, gap: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First and second token of each pair at a distance, and its sentence, (pairs,)."""
    inside = sentence[:-gap] == sentence[gap:]
    return tokens[:-gap][inside], tokens[gap:][inside], sentence[gap:][inside]


def _factors(first: np.ndarray, second: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Factors of the words of pairs: two arrays (size, FACTORS)."""
    from sklearn.utils.extmath import randomized_svd

    ones = np.ones(len(first))
    counts = sparse.coo_array((ones, (first, second)), shape=(size, size)).tocsr().tocoo()
    of_first, of_second = (np.bincount(side, minlength=size) for side in (first, second))
    row, column = counts.coords
    expected = of_first[row].astype(float) * of_second[column]
    matrix = sparse.csr_array((counts.data**0.5 / expected**0.25, (row, column)), counts.shape)
    left, roots, right = randomized_svd(matrix, min(FACTORS, size), n_iter=4, random_state=0)
    found = np.zeros((2, size, FACTORS))
    found[0, :, : len(roots)] = left * roots**0.5
    found[1, :, : len(roots)] = right.T * roots**0.5
    return found[0], found[1]


# By the names that `textgan evaluate --encoder` takes.
BUILT_IN: Mapping[str, type[BagOfWords] | type[WordOrder]] = {
    "word_order": WordOrder,
    "bag_of_words": BagOfWords,
}
DEFAULT = "word_order"


class SentenceTransformer:
    """A pretrained model by its name, from the optional extra `encoder`."""

    def __init__(self, model: str) -> None:
        self.name, self._model = f"sentence_transformers:{model}", _load(model)

    def __call__(self, sentences: Text) -> np.ndarray:
        """See `Encoder`; words are joined by spaces."""
        texts = [" ".join(sentence) for sentence in sentences]
        vectors = self._model.encode(texts, convert_to_numpy=True, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)


def _load(model: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer as Pretrained
    except ImportError:
        raise InputError(
            f"--encoder {model}: needs sentence-transformers; pip install 'textgan-lab[encoder]', "
            f"or take a built-in one: {', '.join(BUILT_IN)}"
        ) from None
    try:
        return Pretrained(model)
    except (OSError, ValueError) as error:
        raise InputError(f"--encoder {model}: cannot be loaded ({first_line(error)})") from None
