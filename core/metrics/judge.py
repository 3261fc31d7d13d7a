"""`jsd_bound`: a lower bound of the Jensen-Shannon divergence by a classifier, the judge.

A classifier q is trained to tell samples from references. For any q that does not know the labels
of the sentences it is tested on, with equal numbers of both,

    1 - E[-log2 q(label | sentence)]  <=  JSD(P, G)   in bits

with equality at the best possible classifier (Nguyen et al. 2010; Goodfellow et al. 2014). So real
text against real text has an expectation at or slightly below 0, and the value is not clipped.
Nothing is known about how far the bound lies below the divergence: it grows with the number of
sentences and with the judge. Compare only values with equal signatures. Text that was copied from
the training text passes: read `copied` next to it.

The judge is the sum of two classifiers. A network reads tokens: embeddings, one LSTM layer, mean
and maximum over time, a linear layer. A logistic regression reads the presence of 1- to 3-grams and
the length; it is better for few sentences. Both are trained FOLDS times, each time on the other
folds. An inner split of the training folds selects the network's epoch and then the weights of the
two logits, which calibrates them (Platt 1999); the sentences that are scored select nothing. Logits
are limited to -+LIMIT, so that one sentence costs at most 9 bits.

Near-duplicates, sentences that differ in at most one word, stay in one fold, because texts often
have several versions of one sentence, and recognising those is not evidence about the source. More
than LARGEST of them are treated as repetition by the source, which is evidence, and are split.

Interval: Student's t over groups of near-duplicates. The test error of a fold is independent given
its classifier; that of different folds is not, because each is part of the others' training text.
The standard errors of the folds are therefore averaged, as if they were perfectly correlated, which
is an upper limit of the true one (see docs/decisions/0025-the-judge.md).

With an oracle, the judge also reads what the oracle says: whether the sentence is valid, its
probability, its template.

One thread, seeded, the same bits on every call.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import softplus

from core.metrics.intervals import Bounds, Measure, around
from core.metrics.ngrams import Sentence, numbered
from core.metrics.two_sample import ngram_features
from core.text.oracles import LstmOracle, Oracle

FEWEST = 100  # sentences of each text
FOLDS = 3
INVERSE_RIDGE = 0.5  # of the logistic regression
INNER = 8  # one in so many training sentences, and
LEAST_INNER = 100  # at least so many, but not more than a third
LONGEST = 100  # words that are read
LARGEST = 8  # near-duplicates that are not repetition by the source
SHORTEST = 6  # words of a sentence that has near-duplicates besides equal ones
EMBEDDING, HIDDEN = 48, 48  # E, H
DROPOUT = 0.3
RATE, DECAY, CLIP = 5e-3, 1e-4, 5.0
EPOCHS = 4
UPDATES = 60  # at least, for small texts
BATCH = 64  # at most; small texts have batches of 1/20 of them, at least 32
LIMIT = 6.0  # of a logit
PAD, END, RARE = 0, 1, 2
WORDS = 3  # the first id of a word


def jsd_bound(
    samples: Sequence[Sentence],
    references: Sequence[Sentence],
    oracle: Oracle | None = None,
    seed: int = 0,
) -> Measure:
    """The bound in bits from equal numbers of sentences, N of each; undefined below FEWEST."""
    n = len(samples)
    if n < FEWEST:
        return Measure(None, n, n, reason=f"needs {FEWEST} sentences of each text")
    bits, fold, group = judged(samples, references, oracle, seed)

    def by_reference() -> np.ndarray:
        """Change as each reference is left out (N,), the classifiers held fixed."""
        return np.asarray((bits[n:].mean() - bits[n:]) / (2 * (n - 1)))

    return Measure(
        float(bits.mean()),
        n,
        n,
        lambda: bounds(bits, fold, group),
        by_reference=by_reference,
    )


def judged(
    samples: Sequence[Sentence],
    references: Sequence[Sentence],
    oracle: Oracle | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """1 + log2 q(label) of each sentence, samples first; its fold and its group: (2N,) each."""
    from sklearn.linear_model import LogisticRegression

    text = [*samples, *references]
    real = np.repeat([False, True], [len(samples), len(references)])
    group = _groups(text)
    rng = np.random.default_rng(seed)
    fold = _folds(real, group, rng)
    if oracle is not None:
        text = _with_marks(text, oracle)
    ids, vocabulary = _encode(text)
    grams = ngram_features([[" start", *sentence, " end"] for sentence in text])
    labels = torch.from_numpy(real).float()
    logits = torch.empty(len(text))
    with _one_thread():
        for k in range(FOLDS):
            others, held = rng.permutation(np.flatnonzero(fold != k)), np.flatnonzero(fold == k)
            inner, rows = np.split(others, [_inner(len(others))])
            network = _train(ids, labels, vocabulary, rows, inner, seed * FOLDS + k)
            linear = LogisticRegression(C=INVERSE_RIDGE, solver="liblinear", random_state=0)
            linear.fit(grams[rows], real[rows])
            said = torch.from_numpy(linear.decision_function(grams)).float()
            weights = _weights(
                torch.stack([_logits(network, ids, inner), said[inner]]), labels[inner]
            )
            summed = weights @ torch.stack([_logits(network, ids, held), said[held]])
            logits[held] = summed.clamp(-LIMIT, LIMIT)
    wrong = torch.where(labels > 0, -logits, logits)
    bits = 1 - softplus(wrong.double()) / math.log(2)
    return bits.numpy(), fold, group


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


def _train(
    ids: Tensor, labels: Tensor, vocabulary: int, rows: np.ndarray, inner: np.ndarray, seed: int
) -> _Network:
    """A network trained on some rows of ids (2N, S), at the epoch that the `inner` rows select."""
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


def _weights(logits: Tensor, labels: Tensor) -> Tensor:
    """Of the two classifiers, in [0, 1.25]^2, with the least cross-entropy of their summed logits
    (2, n); 0 says nothing.
    """
    steps = torch.linspace(0, 1.25, 26)
    weights = torch.cartesian_prod(steps, steps)
    summed = (weights @ logits).clamp(-LIMIT, LIMIT)
    losses = cross_entropy(summed, labels.expand_as(summed), reduction="none").mean(1)
    return weights[losses.argmin()]


def _inner(count: int) -> int:
    """Sentences of the inner split."""
    return max(count // INNER, min(LEAST_INNER, count // 3))


def _cut(ids: Tensor) -> Tensor:
    """Without the columns that are padding in every row."""
    return ids[:, : int((ids != PAD).sum(1).max())]


def _encode(text: Sequence[Sentence]) -> tuple[Tensor, int]:
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


def _with_marks(text: Sequence[Sentence], oracle: Oracle) -> list[Sentence]:
    """The sentences, each behind words that no text has: template and -log P in nats."""
    if isinstance(oracle, LstmOracle):
        valid = oracle.valid(text)
        nll = np.full(len(text), np.inf)
        nll[valid] = oracle.nll([each for each, whole in zip(text, valid, strict=True) if whole])
        return [[f"nll {4 * value:.0f}", *each] for value, each in zip(nll, text, strict=True)]
    return [
        [f"template {oracle.template(each)}", f"nll {-oracle.log_prob(each):.0f}", *each]
        for each in text
    ]


def _groups(text: Sequence[Sentence]) -> np.ndarray:
    """The group of near-duplicates of each sentence, (2N,): equal, or equal but for one word that
    is other, missing or added.
    """
    sentences, keys = [], []
    for i, sentence in enumerate(map(tuple, text)):
        spared = range(len(sentence) if len(sentence) >= SHORTEST else 0)
        without = [sentence[:j] + sentence[j + 1 :] for j in spared]
        keys += [sentence, *without]
        sentences += [i] * (1 + len(without))
    which, numbers = numbered(keys)
    links = sparse.coo_array(
        (np.ones(len(which)), (np.array(sentences), len(text) + which)),
        shape=(len(text) + len(numbers),) * 2,
    )
    _, found = connected_components(links, directed=False)
    group: np.ndarray = np.unique(found[: len(text)], return_inverse=True)[1]
    split = np.bincount(group)[group] > LARGEST
    group[split] = len(text) + np.arange(int(split.sum()))
    return np.asarray(np.unique(group, return_inverse=True)[1])


def _folds(real: np.ndarray, group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The fold of each sentence, (2N,): groups at random, those with equal surplus of real
    sentences in turn, so that the folds are balanced.
    """
    surplus = np.bincount(group, np.where(real, 1, -1))
    order = np.lexsort((rng.random(len(surplus)), surplus))
    fold: np.ndarray = np.empty(len(surplus), dtype=np.int64)
    fold[order] = np.arange(len(surplus)) % FOLDS
    return np.asarray(fold[group])


def bounds(bits: np.ndarray, fold: np.ndarray, group: np.ndarray) -> Bounds:
    """The 95% interval of the mean of `bits`, all (2N,)."""
    error = 0.0
    for k in range(FOLDS):
        at = fold == k
        _, which = np.unique(group[at], return_inverse=True)
        sums = np.bincount(which, bits[at] - bits[at].mean())
        m = len(sums)
        error += math.sqrt(m / (m - 1) * float((sums**2).sum())) / len(bits)
    return around(float(bits.mean()), error**2, int(group.max()) + 1)


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
