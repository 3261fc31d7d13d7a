"""The losses of the three kinds of steps, of whatever weights the players have."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from core.nn.likelihood import entropy, negative_log_likelihood
from core.players import Opponent
from core.protocols import Discriminator, Estimator, Generator
from core.sentences import Noise, Rows, Scores
from core.turn import Turn

PENALTY = "train/penalty"
SCORES = ("train/real_score", "train/fake_score", PENALTY)


def discriminator_loss(
    opponent: Opponent, seen_by: Discriminator, real: Rows, fake: Rows, drawn: Tensor | None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """D's loss and what is in it: mean scores of real and drawn words, penalty (`SCORES`)."""
    objective = opponent.objective
    scores = Scores.by(seen_by, real + fake, objective.compares).chunk(2)
    penalty = opponent.penalty(opponent.discriminator, real, fake, drawn)
    means = (*(part.mean() for part in scores), penalty)
    return objective.discriminator(*scores) + penalty, means


def generator_loss(
    turn: Turn, estimator: Estimator, judged: Sequence[Tensor], bonus: float
) -> Tensor:
    """G's loss, less `bonus` times the entropy of its distributions."""
    loss = estimator.loss(turn, judged)
    if bonus:
        nats = entropy(turn.draw.hidden, turn.generator.head)  # (N, S)
        loss = loss - bonus * turn.visible(nats).sum(1).mean()
    return loss


def likelihood_loss(generator: Generator, tokens: Tensor, noise: Noise, words: Tensor) -> Tensor:
    """-log p of real tokens (N, S), a mean over so many words and end tokens."""
    nats = negative_log_likelihood(generator.parallel(tokens, noise), generator.head, tokens)
    return nats.sum() / words
