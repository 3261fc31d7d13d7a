"""The exact gradient that each estimator claims to estimate (`Estimator.target`).

Each is computed by enumerating all sentences and shares nothing with the estimators but the
formulas. Expectations over Gumbel noise use quadrature.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from core.interfaces import Objective
from core.training.scoring import score
from core.types import END, Embedded, Scores
from variants.laboratory.toy import (
    FLOAT,
    ToyDiscriminator,
    ToyGenerator,
    V,
    log_likelihood,
    sentences,
)

NODES = {2: 10, 3: 4}  # Gauss-Legendre nodes per dimension (a step has two), by number of steps


@dataclass(frozen=True)
class Case:
    """One estimator in the laboratory: its players and its settings."""

    generator: ToyGenerator
    discriminator: ToyDiscriminator
    objective: Objective
    real: Tensor  # (N, S) tokens
    estimator: Any  # its Config
    sampling: Any  # its Config
    temperature: float = 0.7
    mask_after_eos: bool = False
    batch: int = 4  # N

    @property
    def reference(self) -> ToyGenerator:
        """Another G, for estimators with a penalty on the distance from one."""
        return ToyGenerator(self.generator.length, seed=1)

    def mask(self, tokens: Tensor) -> Tensor | None:
        """The visible tokens: up to and including the first end token."""
        if not self.mask_after_eos:
            return None
        ends = (tokens == END).long().cumsum(1)
        return (ends == 0) | ((ends == 1) & (tokens == END))

    def scores(self, embedded: Tensor, mask: Tensor | None) -> Scores:
        """D's scores, or its features if the objective uses features."""
        return score(self.discriminator, Embedded(embedded, mask), self.objective.uses_features)

    def rewards(self, tokens: Tensor) -> Scores:
        """The reward of each score of some sentences."""
        table = self.discriminator.embedding
        real = self.scores(table[self.real], self.mask(self.real))
        fake = self.scores(table[tokens], self.mask(tokens))
        return Scores(self.objective.reward(fake, real), fake.mask)


def gradient(case: Case, loss: Tensor) -> Tensor:
    """The gradient of a scalar with respect to all of G's weights, as one vector."""
    weights = [p for p in case.generator.parameters() if p.requires_grad]
    parts = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def sequence(case: Case) -> Tensor:
    """-grad E R: the sequence objective, the reference for every estimator."""
    tokens = sentences(case.generator.length)
    p = log_likelihood(case.generator, tokens).sum(1).exp()
    return gradient(case, -(p * case.rewards(tokens).per_sentence()).sum())


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
    """-E over batches of sum_i (w_i - b / N) grad log p(x_i), with w the softmax of D's scores."""
    tokens, N = sentences(case.generator.length), case.batch
    by_token = log_likelihood(case.generator, tokens)
    mask = case.mask(tokens)
    log_p = (by_token if mask is None else by_token * mask).sum(1)
    p = by_token.sum(1).exp().detach()
    scores = case.scores(case.discriminator.embedding[tokens], mask).per_sentence()
    batches = torch.tensor(list(itertools.product(range(len(tokens)), repeat=N)))
    weights = scores[batches].softmax(1) - case.estimator.baseline / N
    probabilities = p[batches].prod(1, keepdim=True)
    return gradient(case, -(probabilities * weights * log_p[batches]).sum())


def grouped(case: Case) -> Tensor:
    """-E over groups of 1/G sum_i A_i grad log p(x_i), A the standardised rewards of the group or
    R_i less the mean of the others; plus beta times the gradient of the penalty. Both are divided
    by the number of tokens if the settings say so.
    """
    tokens, settings = sentences(case.generator.length), case.estimator
    log_p, mask = log_likelihood(case.generator, tokens), case.mask(tokens)
    p = log_p.sum(1).exp().detach()
    counted = torch.ones_like(log_p) if mask is None else mask.to(FLOAT)
    if settings.per_token:
        counted = counted / counted.sum(1, keepdim=True)
    G = settings.group
    groups = torch.tensor(list(itertools.product(range(len(tokens)), repeat=G)))
    rewards = case.rewards(tokens).per_sentence()[groups]
    centred = rewards - rewards.mean(1, keepdim=True)
    scale = rewards.std(1, keepdim=True) + 1e-6 if settings.standardise else (G - 1) / G
    weights = p[groups].prod(1, keepdim=True) * centred / scale / G
    credit = torch.zeros_like(p).index_add_(0, groups.flatten(), weights.flatten())
    log_ratio = log_likelihood(case.reference, tokens).detach() - log_p
    penalty = settings.kl * (log_ratio.exp() - log_ratio - 1)
    gain = credit[:, None] * log_p - p[:, None] * penalty
    return gradient(case, -(gain * counted).sum())


def smoothed(case: Case) -> Tensor:
    """-E sum_t sum_w K(x_t, w) / L(w) R_t(w) grad p(w | x_<t), as in TaylorGAN."""
    tokens, table = sentences(case.generator.length), case.discriminator.embedding
    logits = case.generator.parallel(tokens, case.generator.draw_noise(len(tokens), None))
    p_tokens = logits.softmax(-1)  # (V^S, S, V)
    p = log_likelihood(case.generator, tokens).sum(1).exp().detach()
    embedded = table[tokens].requires_grad_(True)
    mask = case.mask(tokens)
    scores = case.scores(embedded, mask)
    rewards = scores.per_sentence(case.objective.reward(scores, None))
    (input_grad,) = torch.autograd.grad(rewards.sum(), embedded)
    square = ((table[:, None] - table) ** 2).sum(-1)
    kernel = (-square / (2 * case.estimator.bandwidth**2)).exp()
    loss = torch.zeros((), dtype=FLOAT)
    for t in range(case.generator.length):
        moved = table - table[tokens[:, t]][:, None]  # (V^S, V, E)
        values = rewards[:, None] + (input_grad[:, None, t] * moved).sum(-1)
        weights = kernel[tokens[:, t]] * values / (p_tokens[:, t] @ kernel)
        visible = p if mask is None else p * mask[:, t]
        loss = loss - (visible * (weights.detach() * p_tokens[:, t]).sum(-1)).sum()
    return gradient(case, loss)


def relaxed(case: Case) -> Tensor:
    """The mean pathwise gradient of what D sees, over all tokens and noise."""
    return gradient(case, RELAXED[case.sampling.name](case))


def _expected_loss(case: Case, rows: list[Tensor], weights: Tensor) -> Tensor:
    """G's loss when D sees `rows`, one distribution or one-hot (Q, V) per step; weighted sum."""
    embedded = torch.stack(rows, dim=1) @ case.discriminator.embedding
    values = case.scores(embedded, None)
    losses = values.per_sentence(-case.objective.reward(values, None))
    return (weights * losses).sum()


def _detached(case: Case) -> Tensor:
    rows: list[Tensor] = []
    previous: list[Tensor] = []
    for t in range(case.generator.length):
        logits = case.generator.at(t, previous).expand(1, V)
        rows.append(logits.softmax(-1))
        previous.append(one_hot(logits.argmax(-1), V).to(FLOAT))
    return _expected_loss(case, rows, torch.ones(1, dtype=FLOAT))


def _straight_through(case: Case) -> Tensor:
    tokens = sentences(case.generator.length)
    hard = one_hot(tokens, V).to(FLOAT)
    weights = log_likelihood(case.generator, tokens).sum(1).exp().detach()
    rows = []
    for t in range(case.generator.length):
        p = case.generator.at(t, list(hard[:, :t].unbind(1))).expand(len(tokens), V).softmax(-1)
        rows.append(hard[:, t] + p - p.detach())
    return _expected_loss(case, rows, weights)


def _gumbel(case: Case, *, straight_through: bool) -> Tensor:
    """Every step splits each path into the nodes of a quadrature over its Gumbel noise."""
    soft = getattr(case.sampling, "feedback", "hard") == "soft"
    rows: list[Tensor] = []  # what D sees, one entry per step
    previous: list[Tensor] = []  # what is fed back
    weights = torch.ones(1, dtype=FLOAT)
    for t in range(case.generator.length):
        logits = case.generator.at(t, previous).expand(len(weights), V)  # (Q, V)
        noise, node_weights = gumbel_nodes(logits.detach(), NODES[case.generator.length])
        nodes = node_weights.shape[1]
        noisy = logits[:, None] + noise  # (Q, nodes, V)
        mixed = (noisy / case.temperature).softmax(-1).flatten(0, 1)
        hard = one_hot(noisy.argmax(-1), V).to(FLOAT).flatten(0, 1)
        rows = [row.repeat_interleave(nodes, 0) for row in rows]
        previous = [row.repeat_interleave(nodes, 0) for row in previous]
        rows.append(hard + mixed - mixed.detach() if straight_through else mixed)
        previous.append(mixed if soft else hard)
        weights = (weights[:, None] * node_weights).flatten()
    return _expected_loss(case, rows, weights)


def gumbel_nodes(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Quadrature nodes (Q, 3 count^2, V) of Gumbel noise for logits (Q, V), up to a constant per
    row, and their weights (Q, 3 count^2).

    X_j = exp(-(l_j + g_j)) is exponential with rate e^{l_j}. The smallest, X_k, belongs to token k
    with probability softmax(l)_k. The others are X_j / X_k = 1 + (Z / e^{l_j}) E_j / E_0, where Z
    is the sum of e^{l} and the E are standard exponentials, so their shares are uniform on a
    simplex. For each winner the noise is therefore smooth in two uniform numbers, which a
    Gauss-Legendre rule integrates.
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
    "gumbel_softmax": lambda case: _gumbel(case, straight_through=False),
    "straight_through_gumbel": lambda case: _gumbel(case, straight_through=True),
}
TARGETS: Mapping[str, Callable[[Case], Tensor]] = {
    "sequence": sequence,
    "discounted": discounted,
    "reweighted": reweighted,
    "grouped": grouped,
    "smoothed": smoothed,
    "relaxed": relaxed,
}
