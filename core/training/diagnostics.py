"""Diagnoses of both players on sentences that no step has used.

Everything is drawn from a random stream of its own and computed on a copy of G and on D in
evaluation mode, so that the number of evaluations does not change the run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from core.config import Config
from core.interfaces import Generator, NextTokenDiscriminator, SamplingSpec
from core.nn.discriminator_input import HardTokens
from core.nn.likelihood import entropy, log_likelihood
from core.process import denormals_are_zero
from core.seeding import generator as stream
from core.training.generator_batch import GeneratorBatch, plan_batch
from core.training.generator_step import estimator_loss
from core.training.players import (
    Adversary,
    Players,
    as_module,
    evaluation_mode,
    frozen_parameters,
)
from core.training.rollout import sample, sample_with_grad
from core.training.scoring import log_p_of, log_ratio, score
from core.types import DiscriminatorInput, Draw, Embedded, Scores

BINS = 10


def diagnose(
    config: Config, players: Players, real: Tensor, spec: SamplingSpec, name: str, gradients: int
) -> dict[str, float | None]:
    """Diagnoses by their names in the record.

    `real` are held-out sentences (N, S), `spec` says how others are drawn, `name` names the random
    stream to draw from, `gradients` is the number of gradients of G to take, one batch each.

    - `next_word_entropy`: mean entropy of G's next-token distributions, nats.
    - `effective_vocabulary`: exp of the entropy of the drawn tokens' frequencies, tokens.
    - `d_auc`: probability that D scores a real sentence above a generated one; .5 is chance.
    - `d_accuracy`, `d_calibration_error` (expected, 10 bins, Guo et al. 2017): of sigma(score) as a
      probability of being real; only if the objective's scores are log-odds.
    - `g_gradient_norm`, `g_signal_to_noise`: norm of the mean gradient, and its ratio to the noise
      of one gradient; absent if `gradients` is 0.
    """
    device = real.device
    rng = stream(config.seed, name, device)
    generator = deepcopy(players.generator)
    as_module(generator).eval()
    real = real[:, : spec.length or generator.length]
    draw = sample(generator, spec, len(real), rng)
    values = _of_tokens(draw, generator)
    adversary = players.adversary
    if adversary is None:
        return values
    own = replace(adversary, estimator=deepcopy(adversary.estimator))
    # No copy of D: a recurrent layer with spectral normalisation cannot be copied between steps.
    discriminator = as_module(own.discriminator)
    with evaluation_mode(discriminator), frozen_parameters(discriminator):
        shown = HardTokens(real, spec.mask(real)), draw.d_input
        if own.plan.log_ratio:
            with torch.no_grad():
                log_p = log_likelihood(draw.hidden, generator.head, draw.tokens)
            scores = _log_ratios(own, shown, (log_p_of(generator, real, rng), log_p))
        else:
            scores = _scores(own, shown)
        values |= _of_discriminator(own, scores)
        if gradients:
            with denormals_are_zero():
                entropy_weight = config.train.entropy
                taken = list(
                    batch_gradients(gradients, own, generator, spec, real, rng, entropy_weight)
                )
            values |= _of_gradients(torch.stack(taken).double())
    return values


def _of_tokens(draw: Draw, generator: Generator) -> dict[str, float | None]:
    mask = draw.d_input.mask
    seen = torch.ones_like(draw.tokens, dtype=torch.bool) if mask is None else mask
    with torch.no_grad():
        nats = entropy(draw.hidden, generator.head)[seen].mean()
    shares = torch.bincount(draw.tokens[seen]).double() / seen.sum()
    spread = -(shares * shares.clamp(min=1e-300).log()).sum()
    return {
        "diagnosis/next_word_entropy": float(nats),
        "diagnosis/effective_vocabulary": math.exp(float(spread)),
    }


@torch.no_grad()
def _scores(adversary: Adversary, shown: Sequence[DiscriminatorInput]) -> list[Scores]:
    """D's of real and of drawn sentences; none where it has features instead."""
    D = adversary.discriminator
    if adversary.objective.uses_features:
        return []
    return [score(D, Embedded.of(words, D.embedding)) for words in shown]


@torch.no_grad()
def _log_ratios(
    adversary: Adversary, shown: Sequence[DiscriminatorInput], log_p: Sequence[Tensor]
) -> list[Scores]:
    """The same of a D that is a language model, by G's log p (N, S)."""
    D, found = cast(NextTokenDiscriminator, adversary.discriminator), []
    for words, of_words in zip(shown, log_p, strict=True):
        embedded = Embedded.of(words, D.embedding)
        tokens = cast(HardTokens, words).tokens
        values = log_ratio(D, D.queries(embedded.values), tokens, of_words)
        found.append(Scores(values, embedded.mask))
    return found


def _of_discriminator(adversary: Adversary, scores: list[Scores]) -> dict[str, float | None]:
    if not scores:
        return {}
    r, f = scores
    above = r.per_sentence()[:, None] - f.per_sentence()
    values: dict[str, float | None] = {
        "diagnosis/d_auc": float((above > 0).double().mean() + (above == 0).double().mean() / 2)
    }
    if "log_ratio" in adversary.objective.offers:
        real_odds, fake_odds = _visible(r), _visible(f)
        right = (real_odds > 0).double().mean() + (fake_odds <= 0).double().mean()
        values["diagnosis/d_accuracy"] = float(right / 2)
        values["diagnosis/d_calibration_error"] = calibration_error(real_odds, fake_odds)
    return values


def calibration_error(real: Tensor, fake: Tensor) -> float:
    """Mean distance, over equal bins of sigma(log-odds), of the mean probability of being real
    from the share that is; real and drawn count the same.
    """
    odds = torch.cat([real, fake]).double()
    weight = torch.cat([torch.full_like(real, 0.5 / len(real)),
                        torch.full_like(fake, 0.5 / len(fake))]).double()  # fmt: skip
    is_real = torch.cat([torch.ones_like(real), torch.zeros_like(fake)]).double()
    p = odds.sigmoid()
    bins = (p * BINS).long().clamp(max=BINS - 1)
    apart = torch.zeros(BINS, dtype=torch.float64, device=p.device)
    apart.index_add_(0, bins, weight * (p - is_real))
    return float(apart.abs().sum())


def _of_gradients(found: Tensor) -> dict[str, float | None]:
    signal, noise = signal_and_noise(found)
    return {
        "diagnosis/g_gradient_norm": signal,
        "diagnosis/g_signal_to_noise": signal / noise if noise > 0 else None,
    }


def batch_gradients(
    count: int,
    adversary: Adversary,
    generator: Generator,
    spec: SamplingSpec,
    real: Tensor,
    rng: torch.Generator,
    entropy_weight: float = 0.0,
) -> Iterator[Tensor]:
    """The gradients of G's loss (P,), one for each of `count` fresh batches of as many sentences
    as the real ones (N, S). Without an `entropy_weight` they are those of the rewards alone.
    """
    weights = [p for p in as_module(generator).parameters() if p.requires_grad]
    spec, compared = plan_batch(adversary.plan, spec, real)
    for _ in range(count):
        batch = GeneratorBatch(
            sample_with_grad(generator, spec, len(real), rng),
            compared,
            generator,
            spec,
            adversary.discriminator,
            adversary.objective,
            rng,
            reference=adversary.reference,
            entropy_weight=entropy_weight,
        )
        prepared = adversary.estimator.prepare(batch)
        loss = estimator_loss(batch, adversary.estimator, prepared)
        parts = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        yield torch.cat([part.flatten() for part in parts])


def signal_and_noise(gradients: Tensor) -> tuple[float, float]:
    """Norm of the mean of K gradients (K, P), and the standard deviation of one of them, the root
    of the trace of their covariance. What is left of this noise in the mean is subtracted.
    """
    variance = float(gradients.var(0).sum())
    squared = float(gradients.mean(0).square().sum()) - variance / len(gradients)
    return math.sqrt(max(0.0, squared)), math.sqrt(variance)


def _visible(scores: Scores) -> Tensor:
    return scores.values.flatten() if scores.mask is None else scores.values[scores.mask]
