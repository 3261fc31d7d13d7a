"""The exact gradient that each kind of estimator states to be its own (`Estimator.target`).

All of them by enumeration of the sentences, from whole distributions, with nothing in common with
the estimators but the formulas; Gumbel noise by quadrature. `Case` says of what.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from core.protocols import Objective
from core.sentences import Rows, Scores
from core.text.vocabulary import END
from variants.laboratory.world import (
    FLOAT,
    LinearGenerator,
    SmallDiscriminator,
    V,
    log_likelihood,
    sentences,
)

NODES = {2: 10, 3: 4}  # of a Gauss-Legendre rule in each of a step's two dimensions


@dataclass(frozen=True)
class Case:
    """One estimator in the laboratory: its players and its settings."""

    generator: LinearGenerator
    discriminator: SmallDiscriminator
    objective: Objective
    real: Tensor  # (N, S) tokens
    estimator: Any  # its Config
    sampling: Any  # its Config
    temperature: float = 0.7
    mask_after_eos: bool = False
    batch: int = 4  # N

    def mask(self, tokens: Tensor) -> Tensor | None:
        """What is visible of tokens: up to the first end token."""
        if not self.mask_after_eos:
            return None
        ends = (tokens == END).long().cumsum(1)
        return (ends == 0) | ((ends == 1) & (tokens == END))

    def scores(self, embedded: Tensor, mask: Tensor | None) -> Scores:
        """D's scores, or what it makes them from."""
        return Scores.by(self.discriminator, Rows(embedded, mask), self.objective.compares)

    def rewards(self, tokens: Tensor) -> Scores:
        """The reward of each score of some sentences."""
        table = self.discriminator.embedding
        real = self.scores(table[self.real], self.mask(self.real))
        mask = self.mask(tokens)
        fake = self.scores(table[tokens], mask)
        return Scores(self.objective.reward(fake, real), fake.mask)


def gradient(case: Case, loss: Tensor) -> Tensor:
    """Of a scalar with respect to all of G's weights, as one vector."""
    weights = [p for p in case.generator.parameters() if p.requires_grad]
    parts = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def sequence(case: Case) -> Tensor:
    """-grad E R: the sequence objective, which every estimator is compared with."""
    tokens = sentences(case.generator.length)
    p = log_likelihood(case.generator, tokens).sum(1).exp()
    return gradient(case, -(p * case.rewards(tokens).sentences()).sum())


def discounted(case: Case) -> Tensor:
    """-E sum_t (sum_{s >= t} gamma^(s - t) r_s) grad log p(x_t | x_<t)."""
    tokens = sentences(case.generator.length)
    log_p = log_likelihood(case.generator, tokens)
    rewards, S = case.rewards(tokens), case.generator.length
    visible = torch.ones_like(rewards.values) if rewards.mask is None else rewards.mask.to(FLOAT)
    gamma = case.estimator.gamma
    loss = torch.zeros((), dtype=FLOAT)
    p = log_p.sum(1).exp().detach()
    for t in range(S):
        later = [gamma ** (s - t) * rewards.values[:, s] * visible[:, s] for s in range(t, S)]
        loss = loss - (p * visible[:, t] * torch.stack(later).sum(0) * log_p[:, t]).sum()
    return gradient(case, loss)


def reweighted(case: Case) -> Tensor:
    """-E over batches of sum_i (w_i - b / N) grad log p(x_i), w the softmax of D's scores."""
    tokens, N = sentences(case.generator.length), case.batch
    words = log_likelihood(case.generator, tokens)
    mask = case.mask(tokens)
    log_p = (words if mask is None else words * mask).sum(1)
    p = words.sum(1).exp().detach()
    scores = case.scores(case.discriminator.embedding[tokens], mask).sentences()
    batches = torch.tensor(list(itertools.product(range(len(tokens)), repeat=N)))
    weights = scores[batches].softmax(1) - case.estimator.baseline / N
    chances = p[batches].prod(1, keepdim=True)
    return gradient(case, -(chances * weights * log_p[batches]).sum())


def smoothed(case: Case) -> Tensor:
    """-E sum_t sum_w K(x_t, w) / L(w) R_t(w) grad p(w | x_<t), TaylorGAN's."""
    tokens, table = sentences(case.generator.length), case.discriminator.embedding
    logits = case.generator.parallel(tokens, case.generator.draw_noise(len(tokens), None))  # type: ignore[arg-type]
    p_words = logits.softmax(-1)  # (V^S, S, V)
    p = log_likelihood(case.generator, tokens).sum(1).exp().detach()
    embedded = table[tokens].requires_grad_(True)
    mask = case.mask(tokens)
    scores = case.scores(embedded, mask)
    rewards = scores.sentences(case.objective.reward(scores, None))
    (slopes,) = torch.autograd.grad(rewards.sum(), embedded)
    square = ((table[:, None] - table) ** 2).sum(-1)
    kernel = (-square / (2 * case.estimator.bandwidth**2)).exp()
    loss = torch.zeros((), dtype=FLOAT)
    for t in range(case.generator.length):
        moved = table - table[tokens[:, t]][:, None]  # (V^S, V, E)
        worth = rewards[:, None] + (slopes[:, None, t] * moved).sum(-1)
        weights = kernel[tokens[:, t]] * worth / (p_words[:, t] @ kernel)
        seen = p if mask is None else p * mask[:, t]
        loss = loss - (seen * (weights.detach() * p_words[:, t]).sum(-1)).sum()
    return gradient(case, loss)


def relaxed(case: Case) -> Tensor:
    """The mean pathwise gradient of what D sees, over all words and noise it may see."""
    return gradient(case, RELAXED[case.sampling.name](case))


def _of_words(case: Case, rows: list[Tensor], chances: Tensor) -> Tensor:
    """G's expected loss when D sees `rows`, a distribution or one-hot (Q, V) a step."""
    embedded = torch.stack(rows, dim=1) @ case.discriminator.embedding
    values = case.scores(embedded, None)
    losses = values.sentences(-case.objective.reward(values, None))
    return (chances * losses).sum()


def _detached(case: Case) -> Tensor:
    rows: list[Tensor] = []
    before: list[Tensor] = []
    for t in range(case.generator.length):
        logits = case.generator.at(t, before).expand(1, V)
        rows.append(logits.softmax(-1))
        before.append(one_hot(logits.argmax(-1), V).to(FLOAT))
    return _of_words(case, rows, torch.ones(1, dtype=FLOAT))


def _straight_through(case: Case) -> Tensor:
    tokens = sentences(case.generator.length)
    hard = one_hot(tokens, V).to(FLOAT)
    chances = log_likelihood(case.generator, tokens).sum(1).exp().detach()
    rows = []
    for t in range(case.generator.length):
        p = case.generator.at(t, list(hard[:, :t].unbind(1))).expand(len(tokens), V).softmax(-1)
        rows.append(hard[:, t] + p - p.detach())
    return _of_words(case, rows, chances)


def _gumbel(case: Case, *, straight: bool) -> Tensor:
    """Every step splits each path into the nodes of a quadrature over its Gumbel noise."""
    soft = getattr(case.sampling, "feedback", "hard") == "soft"
    paths: list[Tensor] = []  # what D sees, a step each
    before: list[Tensor] = []  # what is fed back
    chances = torch.ones(1, dtype=FLOAT)
    for t in range(case.generator.length):
        logits = case.generator.at(t, before).expand(len(chances), V)  # (Q, V)
        noise, weights = gumbel_nodes(logits.detach(), NODES[case.generator.length])
        splits = weights.shape[1]
        noisy = logits[:, None] + noise  # (Q, splits, V)
        mixed = (noisy / case.temperature).softmax(-1).flatten(0, 1)
        hard = one_hot(noisy.argmax(-1), V).to(FLOAT).flatten(0, 1)
        paths = [row.repeat_interleave(splits, 0) for row in paths]
        before = [row.repeat_interleave(splits, 0) for row in before]
        paths.append(hard + mixed - mixed.detach() if straight else mixed)
        before.append(mixed if soft else hard)
        chances = (chances[:, None] * weights).flatten()
    return _of_words(case, paths, chances)


def gumbel_nodes(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Nodes (Q, 3 count^2, V) of Gumbel noise, up to a constant a row, and their weights.

    With X_j = exp(-(l_j + g_j)), exponential of rate e^{l_j}: the least one, X_k = T, is word
    k's with chance softmax(l)_k, and the others are X_j / T = 1 + (Z / e^{l_j}) E_j / E_0 with Z
    the sum of e^{l}, E standard exponentials, whose shares are uniform on a simplex. So the noise
    is smooth in two uniform numbers for each winner, and a Gauss-Legendre rule does the rest.
    """
    points, weights = np.polynomial.legendre.leggauss(count)
    u, v = (torch.tensor(a.flatten()) for a in np.meshgrid((points + 1) / 2, (points + 1) / 2))
    w = torch.tensor(np.outer(weights, weights).flatten() / 4)
    shares = torch.stack([1 - u.sqrt(), u.sqrt() * (1 - v), u.sqrt() * v])
    ratios = shares[1:] / shares[0]  # (2, count^2)
    p = logits.softmax(-1)
    noise, mass = [], []
    for winner in range(V):
        noisy = torch.zeros(len(logits), len(w), V, dtype=FLOAT)
        for ratio, other in zip(ratios, [j for j in range(V) if j != winner], strict=True):
            noisy[..., other] = -(1 + ratio / p[:, other, None]).log()
        noise.append(noisy - logits[:, None])
        mass.append(p[:, winner, None] * w)
    return torch.cat(noise, dim=1), torch.cat(mass, dim=1)


RELAXED: Mapping[str, Callable[[Case], Tensor]] = {
    "detached": _detached,
    "straight_through": _straight_through,
    "gumbel_softmax": lambda case: _gumbel(case, straight=False),
    "straight_through_gumbel": lambda case: _gumbel(case, straight=True),
}
TARGETS: Mapping[str, Callable[[Case], Tensor]] = {
    "sequence": sequence,
    "discounted": discounted,
    "reweighted": reweighted,
    "smoothed": smoothed,
    "relaxed": relaxed,
}
