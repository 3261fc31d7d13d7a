"""Drawing sentences: S steps, each one hidden state, one distribution, one word.

`draw_words` walks the generator step by step without gradient. `draw_for_gradient` adds the
gradient: with words fed back, the words are known once drawn, so all S distributions are computed
again in one parallel pass on the same noise; with soft feedback the walk itself carries it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from core.nn.linear import frozen
from core.nn.noise import rows_of
from core.nn.words import lengths, longest, movable, visible
from core.protocols import Generator, Sampling, Seeds
from core.sentences import Draw, Noise, Words
from core.shares import ALONE, Share
from core.text.vocabulary import END, PAD

LOOK = 4  # steps between two looks at whether all sentences have ended; a look waits for a GPU
TOGETHER = 2**25  # numbers in the logits of one step of words drawn in one rollout


@dataclass(frozen=True)
class Drawing:
    """How sentences are drawn: selection rule, its temperature, whether D sees past the end."""

    sampling: Sampling
    temperature: float = 1.0
    mask_after_eos: bool = False
    length: int | None = None  # steps; None: as many as the generator has
    rollout: Rollout | None = None  # what stands for `unroll` without gradient

    def mask(self, tokens: Tensor) -> Tensor | None:
        """What D may see of tokens (N, S)."""
        return visible(tokens) if self.mask_after_eos else None

    def walk(self, generator: Generator, noise: Noise, seeds: Seeds) -> tuple[Tensor, Tensor]:
        """`unroll` without gradient."""
        if self.rollout is not None:
            return self.rollout(generator, self, noise, seeds)
        return unroll(generator, self, noise, seeds, differentiable=False)


Rollout = Callable[[Generator, Drawing, Noise, Seeds], tuple[Tensor, Tensor]]


def unroll(
    generator: Generator,
    drawing: Drawing,
    noise: Noise,
    seeds: Seeds,
    *,
    differentiable: bool,
    heat: float = 1.0,
    share: Share = ALONE,
) -> tuple[Tensor, Tensor]:
    """Step by step: tokens (N, S) and hidden (N, S, E). `seeds` are the sampling's randomness;
    logits are divided by `heat`. Where nobody looks behind the end, it stops when every sentence
    has ended, those of other processes too: the rest is padding and zeros.
    """
    sampling, tau = drawing.sampling, drawing.temperature
    state, head = generator.begin(noise, differentiable), frozen(generator.head)
    last: Tensor | None = None
    tokens, hidden = [], []
    length = drawing.length or generator.length
    open_ended = torch.ones((), dtype=torch.bool)  # (N,) from the first word on
    for t in range(length):
        h = generator.step(state, last)
        with torch.no_grad():  # selecting is not differentiated, whatever is fed back
            logits = head(h)
            word = sampling.select(logits.div_(heat) if heat != 1 else logits, t, seeds, tau)
        if sampling.soft_feedback:
            last = sampling.feedback(generator, h, t, seeds, tau)
        else:
            last = generator.embed(word)
        tokens.append(word)
        hidden.append(h)
        if drawing.mask_after_eos:
            open_ended = open_ended & (word != END)
            if (t + 1) % LOOK == 0 and not share.any(bool(open_ended.any())):
                break
    rest = length - len(tokens)
    return (
        pad(torch.stack(tokens, dim=1), (0, rest), value=PAD),
        pad(torch.stack(hidden, dim=1), (0, 0, 0, rest)),
    )


def draw_words(
    generator: Generator,
    drawing: Drawing,
    count: int,
    rng: torch.Generator,
    parts: int = 1,
    batches: int = 1,
    share: Share = ALONE,
) -> Draw:
    """N sentences without gradient: `batches` of them, each to be looked at in `parts`. What
    another process rolls out is gathered.
    """
    with torch.no_grad():
        noise = generator.draw_noise(count, rng)
        seeds = drawing.sampling.randomness(batches * parts, rng)
        ours, own = share.of_noise(noise, batches), share.seeds(seeds, batches)
        tokens, hidden = _walked(generator, drawing, ours, own, share)
        tokens, hidden = share.gather(tokens, batches), share.gather(hidden, batches)
        return _draw(generator, drawing, tokens, hidden, seeds, noise)


def _walked(
    generator: Generator, drawing: Drawing, noise: Noise, seeds: Seeds, share: Share
) -> tuple[Tensor, Tensor]:
    """Our rows of a batch: tokens and hidden."""
    if share.count == 1:
        return drawing.walk(generator, noise, seeds)
    return unroll(generator, drawing, noise, seeds, differentiable=False, share=share)


def draw_for_gradient(
    generator: Generator,
    drawing: Drawing,
    count: int,
    rng: torch.Generator,
    parts: int = 1,
    share: Share = ALONE,
) -> Draw:
    """N sentences whose `hidden` and `words` carry gradient with respect to the generator; in
    several parts, where words are fed back, it is `anew` that carries it, part by part. What
    another process rolls out is gathered, and has no gradient here.
    """
    noise = generator.draw_noise(count, rng)
    seeds = drawing.sampling.randomness(parts, rng)
    ours, own = share.of_noise(noise), share.seeds(seeds)
    if drawing.sampling.soft_feedback:
        tokens, hidden = unroll(generator, drawing, ours, own, differentiable=True, share=share)
        tokens, hidden = share.gather(tokens), share.gather(hidden)
        return _draw(generator, drawing, tokens, hidden, seeds, noise)
    with torch.no_grad():
        tokens, hidden = _walked(generator, drawing, ours, own, share)
        tokens, hidden = share.gather(tokens), share.gather(hidden)
    if parts == 1 or noise.redrawn:
        hidden = _in_one_pass(generator, drawing, tokens, noise)
        return _draw(generator, drawing, tokens, hidden, seeds, noise)
    draw = _draw(generator, drawing, tokens, hidden, seeds, noise)
    seen = lengths(draw.words)
    if seen is not None and movable(draw.words):
        # They are in no order yet; the longest first, each part is as long as its own longest.
        order = seen.argsort(descending=True, stable=True)
        tokens, hidden, noise = tokens[order], hidden[order], rows_of(noise, order)
        draw = _draw(generator, drawing, tokens, hidden, seeds, noise)

    def anew(rows: slice) -> Draw:
        part, each = tokens[rows], count // max(1, len(seeds))
        own = rows_of(noise, torch.arange(count, device=tokens.device)[rows])
        again = _in_one_pass(generator, drawing, part, own)
        of_part = seeds[rows.start // each : rows.stop // each]
        return replace(_draw(generator, drawing, part, again, of_part, noise), noise=None)

    return replace(draw, anew=anew)


def _in_one_pass(generator: Generator, drawing: Drawing, tokens: Tensor, noise: Noise) -> Tensor:
    """Hidden (N, S, E) of words drawn, with gradient; zero behind the longest that is seen."""
    steps = longest(drawing.mask(tokens), tokens.shape[1])
    hidden = generator.parallel(tokens[:, :steps], noise)
    return pad(hidden, (0, 0, 0, tokens.shape[1] - steps))


def completions(
    generator: Generator, drawing: Drawing, draw: Draw, count: int, rng: torch.Generator
) -> Tensor:
    """Monte-Carlo continuations of every prefix of N drawn sentences, without gradient: tokens
    (S - 1, N, count, S), the first axis the prefix's length less one.

    All prefixes walk together: at each step the drawn sentences fork `count` ways and join the
    rollout, so that no prefix is computed twice; as many sentences at a time as memory has room
    for. The noise that a sentence was drawn with is its own condition and stays.
    """
    assert draw.noise is not None
    S = draw.tokens.shape[1]
    room = max(1, TOGETHER // (S * count * generator.head.out_features))
    with torch.no_grad():
        begun = generator.begin(draw.noise, False)
        parts = [
            _complete(
                generator, drawing, generator.fork(begun, rows), draw.tokens[rows], count, rng
            )
            for rows in torch.split(torch.arange(len(draw.tokens), device=draw.tokens.device), room)
        ]
    return torch.cat(parts, dim=1)


def _complete(
    generator: Generator,
    drawing: Drawing,
    state: Any,
    tokens: Tensor,
    count: int,
    rng: torch.Generator,
) -> Tensor:
    """`completions` of tokens (N, S), from a state that has just begun."""
    N, S = tokens.shape
    seeds = drawing.sampling.randomness(1, rng)
    forks = torch.arange(N, device=tokens.device).repeat_interleave(count)
    head = frozen(generator.head)
    words = tokens.new_empty(N, 0)  # of every row in the rollout, the drawn sentences first
    last: Tensor | None = None
    for t in range(S):
        h = generator.step(state, last)
        word = drawing.sampling.select(head(h), t, seeds, drawing.temperature)
        word[:N] = tokens[:, t]
        words = torch.cat([words, word.unsqueeze(1)], dim=1)
        if t < S - 1:
            rows = torch.cat([torch.arange(len(words), device=tokens.device), forks])
            words, word = words[rows], word[rows]
            state = generator.fork(state, rows)
        last = generator.embed(word)
    return words[N:].view(S - 1, N, count, S)


def sample_tokens(
    generator: Generator, drawing: Drawing, count: int, rng: torch.Generator, heat: float = 1.0
) -> Tensor:
    """N sentences (N, S) for people and metrics; `heat` is the temperature that they ask for.

    A sampling that has a likelihood divides its logits by it (a draw from softmax(l / heat)); one
    whose chance all comes from the generator's noise has that noise multiplied by it.
    """
    explicit = "likelihood" in getattr(drawing.sampling, "offers", ())
    with torch.no_grad():
        noise = generator.draw_noise(count, rng, 1.0 if explicit else heat)
        seeds = drawing.sampling.randomness(1, rng)
        divisor = heat if explicit else 1.0
        return unroll(generator, drawing, noise, seeds, differentiable=False, heat=divisor)[0]


def split(draw: Draw, parts: int) -> list[Draw]:
    """The same sentences as `parts` equal draws."""
    pieces = zip(
        draw.tokens.chunk(parts), draw.hidden.chunk(parts), draw.words.chunk(parts), strict=True
    )
    return [Draw(tokens, hidden, words, draw.words_of) for tokens, hidden, words in pieces]


def _draw(
    generator: Generator,
    drawing: Drawing,
    tokens: Tensor,
    hidden: Tensor,
    seeds: Seeds,
    noise: Noise,
) -> Draw:
    mask = drawing.mask(tokens)

    def words_of(hidden: Tensor) -> Words:
        return drawing.sampling.words(generator, tokens, hidden, seeds, drawing.temperature, mask)

    return Draw(tokens, hidden, words_of(hidden), words_of, noise)
