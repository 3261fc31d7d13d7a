"""NLL_gen: what held-out text costs an explicit generator, nats a token.

    NLL_gen = - sum over sentences, t of log p(x_t | x_<t) / number of tokens

over the words of real held-out sentences and their end tokens, without padding, the logits
undivided (temperature 1) and dropout off. Its exponential is the perplexity. Lower is better; it
asks whether everything real is likely (a mode that the generator has lost costs dearly) and says
nothing of how the drawn text looks. The original scored the training text instead, which rewards
learning by heart. A word that the vocabulary lacks counts as `<unk>`, so values of two vocabularies
do not share a scale.

Only an explicit generator has it: words are drawn in proportion to a likelihood (the sampling
offers it), words and not mixtures are fed back, and nothing else is random (`Noise.silent`), else
p would be an integral over the noise. Interval: ratio of means over sentences, delta method.
Direction: lower.
"""

from __future__ import annotations

import numpy as np
import torch

from core.interfaces import Generator, SamplingSpec
from core.metrics.intervals import Measure, ratio
from core.training.players import as_module, evaluation_mode
from core.training.scoring import token_nll
from core.types import visible

BATCH = 250  # sentences at a time


def nll_gen(generator: Generator, spec: SamplingSpec, rows: np.ndarray) -> Measure:
    """Of real sentences as ids (n, S), padded; undefined without one, and for a generator whose
    likelihood nobody can compute.
    """
    n = len(rows)
    if n == 0 or not explicit(generator, spec):
        return Measure(None, n, n)
    nats, tokens = sentence_nll(generator, rows)
    value = float(nats.sum() / tokens.sum())
    if not np.isfinite(value):
        return Measure(None, n, n)
    return Measure(value, n, n, ratio(nats, tokens))


def sentence_nll(generator: Generator, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-log p (n,) in nats of sentences as ids (n, S), each up to its first end token, that
    included, and their numbers of tokens (n,). A row without an end token counts whole. The
    generator must be `explicit`.
    """
    module = as_module(generator)
    device = next(module.parameters()).device
    rng = torch.Generator(device=device).manual_seed(0)
    nats, tokens = [], []
    with torch.no_grad(), evaluation_mode(module):
        for start in range(0, len(rows), BATCH):
            batch = torch.from_numpy(rows[start : start + BATCH]).to(device)
            shown = visible(batch)
            counts = shown.sum(1)
            longest = int(counts.max())
            batch, shown = batch[:, :longest], shown[:, :longest]
            nll = token_nll(generator, batch, rng, shown)
            nats.append(nll.double().sum(1).cpu().numpy())
            tokens.append(counts.cpu().numpy())
    return np.concatenate(nats), np.concatenate(tokens).astype(float)


def explicit(generator: Generator, spec: SamplingSpec) -> bool:
    """Whether the probability of a sentence is the product of its tokens' under softmax(l)."""
    device = next(as_module(generator).parameters()).device
    noise = generator.draw_noise(1, torch.Generator(device=device).manual_seed(0))
    return spec.has_likelihood and not spec.sampling.soft_feedback and noise.silent
