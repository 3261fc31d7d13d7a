"""Drawing sentences: S steps, each one hidden state, one distribution, one token.

`sample` rolls the generator out step by step without gradient. `sample_with_grad` adds the
gradient: with hard feedback all tokens are known once drawn, so one parallel pass on the same noise
computes all S distributions again; with soft feedback the rollout itself carries the gradient.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from core.interfaces import Generator, SamplingSpec
from core.nn.discriminator_input import lengths, longest, movable
from core.nn.noise import rows_of
from core.types import END, PAD, DiscriminatorInput, Draw, Noise, Seeds

CHECK_EVERY = 4  # steps between two checks whether all sentences have ended; each waits for a GPU
TOGETHER = 2**25  # logits of one step of all sentences that one rollout draws at a time


def unroll(
    generator: Generator,
    spec: SamplingSpec,
    noise: Noise,
    seeds: Seeds,
    *,
    differentiable: bool,
    decoding_temperature: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Step by step: tokens (N, S) and hidden (N, S, E). `seeds` are those of the sampling's noise;
    logits are divided by the decoding temperature. If positions after the end are masked, it stops
    when every sentence has ended; the rest is padding and zeros.
    """
    sampling, tau = spec.sampling, spec.temperature
    state = generator.begin(noise, differentiable)
    last: Tensor | None = None
    tokens, hidden = [], []
    length = spec.length or generator.length
    unfinished = torch.ones((), dtype=torch.bool)  # (N,) from the first token on
    for t in range(length):
        h = generator.step(state, last)
        with torch.no_grad():  # the selection has no gradient, whatever is fed back
            logits = generator.head(h)
            if decoding_temperature != 1:
                logits = logits.div_(decoding_temperature)
            token = sampling.select(logits, t, seeds, tau)
            if spec.given is not None and t < spec.given.shape[1]:
                token = spec.given[:, t]
        if sampling.soft_feedback:
            last = sampling.feedback(generator, h, t, seeds, tau)
        else:
            last = generator.embed(token)
        tokens.append(token)
        hidden.append(h)
        if spec.mask_after_eos:
            unfinished = unfinished & (token != END)
            if (t + 1) % CHECK_EVERY == 0 and not bool(unfinished.any()):
                break
    rest = length - len(tokens)
    return (
        pad(torch.stack(tokens, dim=1), (0, rest), value=PAD),
        pad(torch.stack(hidden, dim=1), (0, 0, 0, rest)),
    )


def sample(
    generator: Generator,
    spec: SamplingSpec,
    count: int,
    rng: torch.Generator,
    parts: int = 1,
) -> Draw:
    """N sentences without gradient, that can be cut into `parts` equal batches."""
    with torch.no_grad():
        noise = generator.draw_noise(count, rng)
        seeds = spec.sampling.randomness(parts, rng)
        tokens, hidden = unroll(generator, spec, noise, seeds, differentiable=False)
        return _draw(generator, spec, (tokens, hidden), seeds, noise)


def sample_with_grad(
    generator: Generator,
    spec: SamplingSpec,
    count: int,
    rng: torch.Generator,
    parts: int = 1,
) -> Draw:
    """N sentences whose `hidden` and `d_input` carry gradient with respect to the generator. With
    several parts and hard feedback it is `recompute` that carries it, part by part.
    """
    noise = generator.draw_noise(count, rng)
    seeds = spec.sampling.randomness(parts, rng)
    if spec.sampling.soft_feedback:
        drawn = unroll(generator, spec, noise, seeds, differentiable=True)
        return _draw(generator, spec, drawn, seeds, noise)
    with torch.no_grad():
        tokens, hidden = unroll(generator, spec, noise, seeds, differentiable=False)
    if parts == 1 or noise.redrawn:
        hidden = parallel_pass(generator, spec, tokens, noise)
        return _draw(generator, spec, (tokens, hidden), seeds, noise)
    draw = _draw(generator, spec, (tokens, hidden), seeds, noise)
    shown = lengths(draw.d_input)
    if shown is not None and movable(draw.d_input):
        # Longest first: each part is then as long as its own longest sentence.
        order = shown.argsort(descending=True, stable=True)
        tokens, hidden, noise = tokens[order], hidden[order], rows_of(noise, order)
        draw = _draw(generator, spec, (tokens, hidden), seeds, noise)

    def recompute(rows: slice) -> Draw:
        part, each = tokens[rows], count // max(1, len(seeds))
        again = parallel_pass(generator, spec, part, rows_of(noise, rows))
        part_seeds = seeds[rows.start // each : rows.stop // each]
        return replace(_draw(generator, spec, (part, again), part_seeds, noise), noise=None)

    return replace(draw, recompute=recompute)


def completions(
    generator: Generator, spec: SamplingSpec, draw: Draw, count: int, rng: torch.Generator
) -> Tensor:
    """Monte-Carlo continuations of every prefix of N drawn sentences, without gradient: tokens
    (S - 1, N, count, S), the first axis the prefix's length less one.

    All prefixes are rolled out together. At each step the drawn sentences are copied `count` times
    and join the rollout, so that no prefix is computed twice; as many sentences at a time as memory
    has room for. The completions keep the noise that their sentence was drawn with.
    """
    assert draw.noise is not None
    S = draw.tokens.shape[1]
    room = max(1, TOGETHER // (S * count * generator.head.out_features))
    with torch.no_grad():
        start = generator.begin(draw.noise, False)
        parts = [
            _complete(generator, spec, generator.fork(start, rows), draw.tokens[rows], count, rng)
            for rows in torch.split(torch.arange(len(draw.tokens), device=draw.tokens.device), room)
        ]
    return torch.cat(parts, dim=1)


def _complete(
    generator: Generator,
    spec: SamplingSpec,
    state: Any,
    tokens: Tensor,
    count: int,
    rng: torch.Generator,
) -> Tensor:
    """`completions` of tokens (N, S), from an initial state."""
    N, S = tokens.shape
    seeds = spec.sampling.randomness(1, rng)
    forks = torch.arange(N, device=tokens.device).repeat_interleave(count)
    completed = tokens.new_empty(N, 0)  # of every row in the rollout, the drawn sentences first
    last: Tensor | None = None
    for t in range(S):
        h = generator.step(state, last)
        token = spec.sampling.select(generator.head(h), t, seeds, spec.temperature)
        token[:N] = tokens[:, t]
        completed = torch.cat([completed, token.unsqueeze(1)], dim=1)
        if t < S - 1:
            rows = torch.cat([torch.arange(len(completed), device=tokens.device), forks])
            completed, token = completed[rows], token[rows]
            state = generator.fork(state, rows)
        last = generator.embed(token)
    return completed[N:].view(S - 1, N, count, S)


def sample_tokens(
    generator: Generator,
    spec: SamplingSpec,
    count: int,
    rng: torch.Generator,
    temperature: float = 1.0,
) -> Tensor:
    """Tokens (N, S) for people and metrics, at a decoding temperature.

    If the sampling has a likelihood, its logits are divided by the temperature (a draw from
    softmax(l / temperature)). If all randomness comes from the generator's noise, that noise is
    multiplied by it. Drawing stops when every sentence has ended; the rest is padding.
    """
    spec = replace(spec, mask_after_eos=True)
    with torch.no_grad():
        noise = generator.draw_noise(count, rng, 1.0 if spec.has_likelihood else temperature)
        seeds = spec.sampling.randomness(1, rng)
        divisor = temperature if spec.has_likelihood else 1.0
        return unroll(
            generator, spec, noise, seeds, differentiable=False, decoding_temperature=divisor
        )[0]


def split(draw: Draw, parts: int) -> list[Draw]:
    """The same sentences as `parts` equal draws."""
    pieces = zip(
        draw.tokens.chunk(parts), draw.hidden.chunk(parts), draw.d_input.chunk(parts), strict=True
    )
    return [Draw(tokens, hidden, d_input, draw.d_input_from) for tokens, hidden, d_input in pieces]


def drawn_again(generator: Generator, spec: SamplingSpec, draw: Draw) -> Draw:
    """The same sentences with the gradient of G's weights as they are now."""
    assert draw.noise is not None
    hidden = parallel_pass(generator, spec, draw.tokens, draw.noise)
    return replace(draw, hidden=hidden, d_input=draw.d_input_from(hidden))


def parallel_pass(generator: Generator, spec: SamplingSpec, tokens: Tensor, noise: Noise) -> Tensor:
    """Hidden (N, S, E) of drawn tokens, with gradient; zero after the longest visible sentence."""
    steps = longest(spec.mask(tokens), tokens.shape[1])
    hidden = generator.parallel(tokens[:, :steps], noise)
    return pad(hidden, (0, 0, 0, tokens.shape[1] - steps))


def _draw(
    generator: Generator,
    spec: SamplingSpec,
    drawn: tuple[Tensor, Tensor],
    seeds: Seeds,
    noise: Noise,
) -> Draw:
    tokens, hidden = drawn
    mask = spec.mask(tokens)

    def d_input_from(hidden: Tensor) -> DiscriminatorInput:
        sampling = spec.sampling
        return sampling.discriminator_input(
            generator, tokens, hidden, seeds, spec.temperature, mask
        )

    return Draw(tokens, hidden, d_input_from(hidden), d_input_from, noise)
