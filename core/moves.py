"""Moves that several whole systems make: likelihood, telling real from drawn text, completions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from core.interfaces import Generator, StepContext
from core.nn.discriminator_input import HardTokens
from core.nn.likelihood import negative_log_likelihood
from core.training.rollout import completions, sample
from core.types import PAD, DiscriminatorInput, Draw, visible

Judge = Callable[[DiscriminatorInput], Tensor]  # a discriminator with a score (N,) a sentence


def drawn(generator: Generator, context: StepContext) -> Draw:
    """N sentences without gradient."""
    return sample(generator, context.sampling, context.batch_size, context.rng("noise"))


def nats(model: Generator, tokens: Tensor, context: StepContext) -> Tensor:
    """-log p of each word of tokens (N, S), 0 at padding."""
    hidden = model.parallel(tokens, model.draw_noise(len(tokens), context.rng("likelihood")))
    return negative_log_likelihood(hidden, model.head, tokens)


def imitate(generator: Generator, context: StepContext) -> Tensor:
    """Likelihood of real text in nats a word."""
    tokens = context.next_batch()
    loss = nats(generator, tokens, context).sum() / (tokens != PAD).sum()
    context.metrics["train/likelihood_loss"] = float(loss.detach())
    return loss


def score(discriminator: Judge, tokens: Tensor) -> Tensor:
    """D's scores (N,) of sentences; what stands behind the end is hidden from it."""
    return discriminator(HardTokens(tokens, visible(tokens)))


def tell_apart(discriminator: Judge, generator: Generator, context: StepContext) -> Tensor:
    """D's cross-entropy of real and drawn text, E sp(-r) + E sp(f)."""
    r = score(discriminator, context.next_batch())
    f = score(discriminator, drawn(generator, context).tokens)
    context.metrics["train/real_score"] = float(r.detach().mean())
    context.metrics["train/fake_score"] = float(f.detach().mean())
    return softplus(-r).mean() + softplus(f).mean()


def outlook(
    discriminator: Judge, generator: Generator, draw: Draw, count: int, context: StepContext
) -> Tensor:
    """Q (N, S): D's probability of real, its mean over `count` completions of the words up to each
    step; of the last step, of the sentence itself. Call it without gradient.
    """
    ends = score(discriminator, draw.tokens).sigmoid()
    rng = context.rng("completions")
    found = [
        score(discriminator, of_prefix.flatten(0, 1)).sigmoid().view(len(ends), count).mean(1)
        for of_prefix in completions(generator, context.sampling, draw, count, rng)
    ]
    return torch.stack([*found, ends], dim=1)
