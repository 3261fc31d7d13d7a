"""Moves that several whole systems make: likelihood, telling real from drawn text, completions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from core.nn.likelihood import negative_log_likelihood
from core.nn.words import TokenWords, visible
from core.phases import Stage
from core.protocols import Generator
from core.rollout import completions, draw_words
from core.sentences import Draw, Words
from core.text.vocabulary import PAD

Judge = Callable[[Words], Tensor]  # a discriminator with a score (N,) a sentence


def drawn(generator: Generator, stage: Stage) -> Draw:
    """N sentences without gradient."""
    return draw_words(generator, stage.drawing, stage.size, stage.rng("noise"))


def nats(model: Generator, tokens: Tensor, stage: Stage) -> Tensor:
    """-log p of each word of tokens (N, S), 0 at padding."""
    hidden = model.parallel(tokens, model.draw_noise(len(tokens), stage.rng("likelihood")))
    return negative_log_likelihood(hidden, model.head, tokens)


def imitate(generator: Generator, stage: Stage) -> Tensor:
    """Likelihood of real text in nats a word."""
    tokens = stage.next_real()
    loss = nats(generator, tokens, stage).sum() / (tokens != PAD).sum()
    stage.values["train/likelihood_loss"] = float(loss.detach())
    return loss


def score(discriminator: Judge, tokens: Tensor) -> Tensor:
    """D's scores (N,) of sentences; what stands behind the end is hidden from it."""
    return discriminator(TokenWords(tokens, visible(tokens)))


def tell_apart(discriminator: Judge, generator: Generator, stage: Stage) -> Tensor:
    """D's cross-entropy of real and drawn text, E sp(-r) + E sp(f)."""
    r = score(discriminator, stage.next_real())
    f = score(discriminator, drawn(generator, stage).tokens)
    stage.values["train/real_score"] = float(r.detach().mean())
    stage.values["train/fake_score"] = float(f.detach().mean())
    return softplus(-r).mean() + softplus(f).mean()


def outlook(
    discriminator: Judge, generator: Generator, draw: Draw, count: int, stage: Stage
) -> Tensor:
    """Q (N, S): D's probability of real, its mean over `count` completions of the words up to each
    step; of the last step, of the sentence itself. Call it without gradient.
    """
    ends = score(discriminator, draw.tokens).sigmoid()
    rng = stage.rng("completions")
    found = [
        score(discriminator, of_prefix.flatten(0, 1)).sigmoid().view(len(ends), count).mean(1)
        for of_prefix in completions(generator, stage.drawing, draw, count, rng)
    ]
    return torch.stack([*found, ends], dim=1)
