"""G's turn: the sentences it has drawn, who judges them, and all that an estimator may ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from core.nn.likelihood import log_likelihood
from core.nn.words import TokenWords
from core.protocols import Discriminator, Generator, Objective
from core.rollout import Drawing, completions
from core.sentences import Draw, Rows, Scores, Words


@dataclass(frozen=True)
class Turn:
    """One batch of N drawn sentences before D, or an equal part of it."""

    draw: Draw
    real: Words  # as many real sentences
    generator: Generator
    drawing: Drawing
    discriminator: Discriminator
    objective: Objective
    rng: torch.Generator  # the estimator's own chance
    parts: int = 1  # that the batch is cut into where memory counts

    # With gradient.

    def scores(self) -> Scores:
        """D's scores of the words drawn, differentiable through what D sees of them."""
        return self._score(self.draw.words)

    def log_likelihood(self) -> Tensor:
        """Log p (N, S) of each word drawn, given those before it; 0 behind the end."""
        draw = self.draw
        return self.visible(log_likelihood(draw.hidden, self.generator.head, draw.tokens))

    def climb(self, advantages: Tensor) -> Tensor:
        """The loss of a score-function estimator: minus the mean over sentences of
        sum_t A_t log p_t, with advantages A (N, S), or (N,) for the same at every step.
        """
        if advantages.dim() == 1:
            advantages = advantages.unsqueeze(1)
        return -(advantages * self.log_likelihood()).sum(1).mean()

    def visible(self, values: Tensor) -> Tensor:
        """Values (N, S) of steps, 0 behind the end."""
        return values if self.mask is None else values * self.mask

    # Without.

    @property
    def mask(self) -> Tensor | None:
        """(N, S) bool, False behind the end token; None when nothing is hidden."""
        return self.draw.words.mask

    def real_scores(self) -> Scores | None:
        """D's scores of the real sentences, for objectives that look at them."""
        if not self.objective.relativistic:
            return None
        return self._look(self.real)

    def rewards(self, words: Words | None = None, real: Scores | None = None) -> Scores:
        """The objective's reward for each score of the words drawn, or of other sentences;
        `real` are the scores that it looks at, if not those of our real sentences in their order.
        """
        drawn = self._look(self.draw.words if words is None else words)
        beside = self.real_scores() if real is None else real
        with torch.no_grad():
            return replace(drawn, values=self.objective.reward(drawn, beside))

    def looked(self) -> Scores:
        """D's scores of the words drawn."""
        return self._look(self.draw.words)

    def values(self, count: int, real: Scores | None = None) -> Tensor:
        """What each word drawn is worth (N, S): the mean reward of `count` Monte-Carlo completions
        of the prefix that it ends; of the last, the sentence's own reward. `real` as in `rewards`.
        """
        continued = completions(self.generator, self.drawing, self.draw, count, self.rng)
        N, S = self.draw.tokens.shape
        if real is None:
            real = self.real_scores()
        paired = real
        if real is not None and not self.objective.compares:  # each completion's real sentence
            each = torch.arange(N, device=real.values.device)
            paired = real.rows(each.repeat_interleave(count))
        values = []
        for words in continued:  # (N, count, S)
            tokens = words.reshape(N * count, S)
            rewards = self.rewards(TokenWords(tokens, self.drawing.mask(tokens)), paired)
            values.append(rewards.sentences().view(N, count).mean(1))
        return torch.stack([*values, self.rewards(None, real).sentences()], dim=1)

    def slopes(self) -> tuple[Tensor, Tensor]:
        """Rewards (N,) of the words drawn and their gradients (N, S, E) in D's embedding space."""
        real = self.real_scores()
        rewards: list[Tensor] = []
        slopes: list[Tensor] = []
        reals = [None] * self.parts if real is None else real.chunk(self.parts)
        for words, beside in zip(self.draw.words.chunk(self.parts), reals, strict=True):
            x = words.embed(self.discriminator.embedding).detach().requires_grad_(True)
            scores = self._by(Rows(x, words.mask))
            of_part = scores.sentences(self.objective.reward(scores, beside))
            slopes += torch.autograd.grad(of_part.sum(), x)
            rewards.append(of_part.detach())
        return torch.cat(rewards), torch.cat(slopes)

    def split(self, draws: Iterable[Draw], pieces: Sequence[slice]) -> Iterator[Turn]:
        """Parts of the turn, one after another; `draws` are its own draw in these pieces."""
        rows = torch.arange(len(self.draw.tokens), device=self.draw.tokens.device)
        for part, piece in zip(draws, pieces, strict=True):
            real = self.real.take(rows[piece])
            assert real is not None  # sentences that were read have no chance of their own
            yield replace(self, draw=part, real=real, parts=1)

    def _score(self, words: Words) -> Scores:
        return self._by(Rows.of(words, self.discriminator.embedding))

    def _by(self, rows: Rows) -> Scores:
        return Scores.by(self.discriminator, rows, self.objective.compares)

    def _look(self, words: Words) -> Scores:
        """Scores without gradient, no more sentences at a time than a part has."""
        with torch.no_grad():
            return Scores.cat([self._score(part) for part in words.chunk(self.parts)])
