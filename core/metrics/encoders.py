"""Sentences to vectors: the slot that FED, MMD and nearest neighbours stand on.

`LatentSemantic` is built in and needs no download: TF-IDF of word 1- and 2-grams of the training
text, each sentence of length one, projected on the first E right singular vectors (latent semantic
analysis, Deerwester et al. 1990). It sees topic, wording and local order, not grammar at a
distance, and only n-grams that two training sentences share. Deterministic.

`SentenceTransformer` wraps a pretrained model of the library of that name (Reimers & Gurevych
2019), an optional extra. Values of two encoders cannot be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from scipy import sparse

from core.errors import InputError, first_line
from core.metrics.ngrams import NgramTable, Sentence
from core.metrics.signature import text_signature

DIMENSIONS = 64  # E
FEATURES = 50_000
CHUNK = 20_000  # sentences encoded at a time


class Encoder(Protocol):
    """A fixed map from sentences to vectors."""

    @property
    def name(self) -> str:
        """What it is, for signatures: values of encoders of other names cannot be compared."""

    def __call__(self, sentences: Sequence[Sentence]) -> np.ndarray:
        """Embeddings of sentences as words: float32 (sentences, E)."""


class LatentSemantic:
    """The built-in encoder, fitted on some sentences."""

    KIND = "bag_of_words:1"  # with the version

    def __init__(self, training: Sequence[Sentence], dimensions: int = DIMENSIONS) -> None:
        from sklearn.utils.extmath import randomized_svd

        self.name = f"{self.KIND}:{text_signature(training)}"
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

    def __call__(self, sentences: Sequence[Sentence]) -> np.ndarray:
        """See `Encoder`."""
        parts = [np.asarray(rows @ self._axes) for rows in self._features(sentences)]
        return np.concatenate(parts) if parts else np.zeros((0, self._axes.shape[1]), np.float32)

    def _features(self, sentences: Sequence[Sentence]) -> Iterator[sparse.csr_array]:
        for start in range(0, len(sentences), CHUNK):
            chunk = sentences[start : start + CHUNK]
            rows, columns, counts = [], [], []
            base = 0
            for n, level in enumerate(self._table.count(chunk), start=1):
                column = self._column[base + level.gram]
                known = column >= 0
                rows.append(level.sentence[known])
                columns.append(column[known])
                counts.append(level.count[known])
                base += self._table.size(n)
            row, column = np.concatenate(rows), np.concatenate(columns)
            value = np.concatenate(counts) * self._weight[column]
            length = np.sqrt(np.bincount(row, value**2, minlength=len(chunk)))
            value = (value / length[row]).astype(np.float32)
            yield sparse.csr_array((value, (row, column)), shape=(len(chunk), len(self._weight)))


class SentenceTransformer:
    """A pretrained model by its name, from the optional extra `encoder`."""

    def __init__(self, model: str) -> None:
        self.name, self._model = f"sentence_transformers:{model}", _load(model)

    def __call__(self, sentences: Sequence[Sentence]) -> np.ndarray:
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
            f"or leave --encoder out for the built-in one"
        ) from None
    try:
        return Pretrained(model)
    except (OSError, ValueError) as error:
        raise InputError(f"--encoder {model}: cannot be loaded ({first_line(error)})") from None
