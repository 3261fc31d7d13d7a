"""The classifiers of the judge (`core/metrics/judge.py`): samples or references, by the tokens.

Each is trained on the sentences `rows`, and gives logits of others, positive for references.

`language_models`: n-gram models of order 1 to ORDER with Kneser-Ney smoothing, one of the training
references and one of the training samples. What both say of a sentence (mean, sum and largest -log
p of its tokens), its length and its number of different words go to boosted trees. A model knows
the sentences that it was fitted to, so each part of the training sentences is described by models
of the other parts, as new sentences will be. Few sentences suffice, since counting learns faster
than descent (Ng & Jordan 2002).

`words`: a logistic regression on the presence of 1- to 3-grams and the length.

`network`: embeddings, one LSTM layer, mean and maximum over time, a linear layer. It sees what no
n-gram shows, from about 1,000 sentences of each text on.

The inner sentences select the number of trees and the network's epoch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from core.metrics.kneser_ney import token_nll_by_order
from core.metrics.ngrams import Text
from core.metrics.two_sample import ngram_features

ORDER = 3
PARTS = 4  # of the training sentences
TREES, TREE_RATE, DEPTH, LEAF = 100, 0.1, 2, 10
SUBSAMPLE = 0.7
INVERSE_RIDGE = 0.5  # of the logistic regression
LONGEST = 100  # words that the network reads
EMBEDDING, HIDDEN = 48, 48  # E, H
DROPOUT = 0.3
RATE, DECAY, CLIP = 5e-3, 1e-4, 5.0
EPOCHS = 4
UPDATES = 60  # at least, for small texts
BATCH = 64  # at most; small texts have batches of 1/20 of them, at least 32
PAD, END, RARE = 0, 1, 2
WORDS = 3  # the first id of a word


@dataclass(frozen=True)
class Split:
    """Indices of the sentences to train on, to select with, and to score."""

    rows: np.ndarray
    inner: np.ndarray
    held: np.ndarray

    @property
    def asked(self) -> np.ndarray:
        """Those whose logits are wanted: inner, then held."""
        return np.concatenate([self.inner, self.held])


def language_models(
    views: Sequence[Text], real: np.ndarray, group: np.ndarray, split: Split
) -> np.ndarray:
    """Logits (asked,) from one or more texts about each sentence, such as the sentence itself.
    Sentences of one group are in one part.
    """
    from sklearn import config_context
    from sklearn.ensemble import GradientBoostingClassifier

    rows, part = split.rows, group[split.rows] % PARTS
    described = partial(_described, views, real)
    features = np.concatenate([described(rows[part != k], rows[part == k]) for k in range(PARTS)])
    labels = np.concatenate([real[rows[part == k]] for k in range(PARTS)])
    trees = GradientBoostingClassifier(
        n_estimators=TREES, learning_rate=TREE_RATE, max_depth=DEPTH, min_samples_leaf=LEAF,
        subsample=SUBSAMPLE, random_state=0,
    )  # fmt: skip
    with config_context(skip_parameter_validation=True, assume_finite=True):  # of every tree
        trees.fit(features, labels)
    asked = described(rows, split.asked)
    stages = np.stack([each[:, 0] for each in trees.staged_decision_function(asked)])
    inner = len(split.inner)
    wrong = np.where(real[split.inner], -1, 1) * stages[:, :inner]
    best: np.ndarray = stages[np.logaddexp(0, wrong).mean(axis=1).argmin()]
    return best


def _described(
    views: Sequence[Text], real: np.ndarray, rows: np.ndarray, asked: np.ndarray
) -> np.ndarray:
    """What models of the references and of the samples among `rows` say of others: (asked,
    features).
    """
    columns: list[np.ndarray] = []
    for text in views:
        sentences = [text[i] for i in asked]
        sources = [[text[i] for i in rows[real[rows] == label]] for label in (True, False)]
        lengths = np.array([len(sentence) + 1 for sentence in sentences])
        nll = [token_nll_by_order(source, sentences, ORDER) for source in sources]
        for of_order in zip(*nll, strict=True):
            columns += _said(of_order, lengths)
        columns.append(np.array([len(sentence) for sentence in sentences]))
        columns.append(np.array([len(set(sentence)) for sentence in sentences]))
    return np.stack(columns, axis=1)


def _said(tokens: Sequence[np.ndarray], lengths: np.ndarray) -> list[np.ndarray]:
    """Mean and largest -log p of tokens under both models, and the differences of sum and largest,
    each (sentences,); from -log p (tokens,) and the lengths (sentences,), the end included.
    """
    starts = np.cumsum(lengths + 1) - lengths - 1
    sums = [np.add.reduceat(each, starts) for each in tokens]
    largest = [np.maximum.reduceat(each, starts) for each in tokens]
    means = [each / lengths for each in sums]
    return [*means, sums[0] - sums[1], *largest, largest[0] - largest[1]]


def words(text: Text, real: np.ndarray, splits: Sequence[Split]) -> list[np.ndarray]:
    """Logits (asked,) of each split."""
    from sklearn.linear_model import LogisticRegression

    grams = ngram_features([[" start", *sentence, " end"] for sentence in text])
    found = []
    for split in splits:
        model = LogisticRegression(C=INVERSE_RIDGE, solver="liblinear", random_state=0)
        model.fit(grams[split.rows], real[split.rows])
        found.append(model.decision_function(grams[split.asked]))
    return found


def network(text: Text, real: np.ndarray, splits: Sequence[Split]) -> list[np.ndarray]:
    """Logits (asked,) of each split, whose number is the seed of its network."""
    ids, vocabulary = _encode(text)
    labels = torch.from_numpy(real).float()
    found = []
    with _one_thread():
        for seed, split in enumerate(splits):
            trained = _train(ids, labels, vocabulary, split, seed)
            found.append(_logits(trained, ids, split.asked).double().numpy())
    return found


class _Network(nn.Module):
    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, EMBEDDING, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, 0.0, 0.3)
        self.lstm = nn.LSTM(EMBEDDING, HIDDEN, batch_first=True)
        self.dropout = nn.Dropout(DROPOUT)
        self.out = nn.Linear(2 * HIDDEN, 1)

    def forward(self, ids: Tensor) -> Tensor:
        """Token ids (N, S) to logits (N,), positive for real."""
        pad = (ids == PAD).unsqueeze(2)  # (N, S, 1)
        hidden, _ = self.lstm(self.dropout(self.embedding(ids)))  # (N, S, H)
        mean = hidden.masked_fill(pad, 0).sum(1) / (~pad).sum(1)
        features = torch.cat([mean, hidden.masked_fill(pad, -1).amax(1)], dim=1)  # (N, 2H)
        logits: Tensor = self.out(self.dropout(features)).squeeze(1)
        return logits


def _train(ids: Tensor, labels: Tensor, vocabulary: int, split: Split, seed: int) -> _Network:
    """A network trained on some rows of ids (2N, S), at the epoch that the inner ones select."""
    rows, inner = split.rows, split.inner
    random = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    network = _Network(vocabulary)
    batch = min(max(len(rows) // 20, 32), BATCH)
    each = math.ceil(len(rows) / batch)
    epochs = max(EPOCHS, math.ceil(UPDATES / each))
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, RATE, total_steps=epochs * each, pct_start=0.1
    )
    least, kept = math.inf, network.state_dict()
    for _ in range(epochs):
        network.train()
        order = torch.from_numpy(rows)[torch.randperm(len(rows), generator=random)]
        for chosen in torch.split(order, batch):
            loss = cross_entropy(network(_cut(ids[chosen])), labels[chosen])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimiser.step()
            schedule.step()
        found = float(cross_entropy(_logits(network, ids, inner), labels[inner]))
        if found < least:
            least = found
            kept = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(kept)
    return network


@torch.no_grad()
def _logits(network: _Network, ids: Tensor, rows: np.ndarray) -> Tensor:
    """Logits (n,) of rows of the ids."""
    network.eval()
    parts = torch.split(torch.from_numpy(rows), 500)
    return torch.cat([network(_cut(ids[part])) for part in parts])


def _cut(ids: Tensor) -> Tensor:
    """Without the columns that are padding in every row."""
    return ids[:, : int((ids != PAD).sum(1).max())]


def _encode(text: Text) -> tuple[Tensor, int]:
    """Token ids (2N, S), each sentence behind and before END; the number of ids. A word that occurs
    once in both texts together is RARE.
    """
    counts = Counter(chain.from_iterable(text))
    known = {word: WORDS + i for i, word in enumerate(w for w, c in counts.items() if c > 1)}
    length = min(max(map(len, text)), LONGEST)
    ids = np.full((len(text), length + 2), PAD)
    for row, sentence in zip(ids, text, strict=True):
        read = [END, *(known.get(word, RARE) for word in sentence[:length]), END]
        row[: len(read)] = read
    return torch.from_numpy(ids), WORDS + len(known)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread and random numbers of our own, restored afterwards."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
