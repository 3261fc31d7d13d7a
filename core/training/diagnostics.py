"""Numbers that tell why a run goes as it does, from sentences that no step has seen.

Everything is drawn from a stream of its own and computed on a copy of G and a D at rest, so that
how often one looks changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn

from core.config import Config
from core.denormals import denormals_are_zero
from core.interfaces import Generator, SamplingSpec
from core.nn.likelihood import entropy
from core.nn.words import TokenWords
from core.seeding import generator as stream
from core.training.generator_batch import GeneratorBatch
from core.training.players import Adversary, Players, as_module
from core.training.rollout import sample, sample_with_grad
from core.training.scoring import score
from core.types import Draw, Embedded, Scores

BINS = 10


def diagnose(
    config: Config, players: Players, real: Tensor, progress: float, name: str, gradients: int
) -> dict[str, float | None]:
    """Diagnoses by their names in the record; `real` are held-out sentences (N, S), `name` that of
    the stream to draw from, `gradients` how many of G's to take, a batch each.

    - `next_word_entropy`: mean entropy of G's next-word distributions, nats.
    - `effective_vocabulary`: exp of the entropy of the drawn words' frequencies, words.
    - `d_auc`: chance that D scores a real sentence above a drawn one; .5 is blindness.
    - `d_accuracy`, `d_calibration_error` (expected, 10 bins, Guo et al. 2017): of sigma(score) as a
      probability of being real; for objectives whose scores are log-odds.
    - `g_gradient_norm`, `g_signal_to_noise`: of the mean of these gradients, its noise
      that of one of them; absent where there are none.
    """
    device = real.device
    rng = stream(config.seed, name, device)
    spec = players.sampling_at(config, progress)
    generator = deepcopy(players.generator)
    as_module(generator).eval()
    real = real[:, : spec.length or generator.length]
    draw = sample(generator, spec, len(real), rng)
    values = _of_words(draw, generator)
    adversary = players.adversary
    if adversary is None:
        return values
    own = replace(adversary, estimator=deepcopy(adversary.estimator))
    with _at_rest(as_module(own.discriminator)):
        values |= _of_discriminator(own, TokenWords(real, spec.mask(real)), draw)
        if gradients:
            values |= _of_gradient(gradients, own, generator, spec, real, rng)
    return values


@contextmanager
def _at_rest(judge: nn.Module) -> Iterator[None]:
    """D as it judges outside of training, and afterwards as it was. Not a copy: a recurrent layer
    whose weights are normalised cannot be copied between two steps. cuDNN's recurrent layers have
    no backward pass outside of training.
    """
    asked = [weight.requires_grad for weight in judge.parameters()]
    training = judge.training
    judge.eval().requires_grad_(False)
    try:
        with torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        judge.train(training)
        for weight, with_gradient in zip(judge.parameters(), asked, strict=True):
            weight.requires_grad_(with_gradient)


def _of_words(draw: Draw, generator: Generator) -> dict[str, float | None]:
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


def _of_discriminator(
    adversary: Adversary, real: TokenWords, draw: Draw
) -> dict[str, float | None]:
    if adversary.objective.uses_features:  # it has features, not scores
        return {}
    D = adversary.discriminator
    with torch.no_grad():
        r, f = (score(D, Embedded.of(words, D.embedding)) for words in (real, draw.d_input))
        above = r.per_sentence()[:, None] - f.per_sentence()
        values: dict[str, float | None] = {
            "diagnosis/d_auc": float((above > 0).double().mean() + (above == 0).double().mean() / 2)
        }
        if "log_ratio" in getattr(adversary.objective, "offers", ()):
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


@denormals_are_zero()
def _of_gradient(
    count: int,
    adversary: Adversary,
    generator: Generator,
    spec: SamplingSpec,
    real: Tensor,
    rng: torch.Generator,
) -> dict[str, float | None]:
    weights = [p for p in as_module(generator).parameters() if p.requires_grad]

    def gradients() -> Iterator[Tensor]:
        for _ in range(count):
            batch = GeneratorBatch(
                sample_with_grad(generator, spec, len(real), rng),
                TokenWords(real, spec.mask(real)),
                generator,
                spec,
                adversary.discriminator,
                adversary.objective,
                rng,
            )
            loss = adversary.estimator.loss(batch, adversary.estimator.prepare(batch))
            parts = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
            yield torch.cat([part.flatten() for part in parts])

    found = torch.stack(list(gradients())).double()
    signal, noise = signal_and_noise(found)
    return {
        "diagnosis/g_gradient_norm": signal,
        "diagnosis/g_signal_to_noise": signal / noise if noise > 0 else None,
    }


def signal_and_noise(gradients: Tensor) -> tuple[float, float]:
    """Length of the mean of gradients (K, P), corrected for what K of them leave of their noise,
    and the noise of one of them: the root of the trace of the covariance.
    """
    variance = float(gradients.var(0).sum())
    squared = float(gradients.mean(0).square().sum()) - variance / len(gradients)
    return math.sqrt(max(0.0, squared)), math.sqrt(variance)


def _visible(scores: Scores) -> Tensor:
    return scores.values.flatten() if scores.mask is None else scores.values[scores.mask]
