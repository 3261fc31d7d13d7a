"""A generator to which D leaks its features (LeakGAN, Guo et al. 2018).

With f_t the features F of D for the t words so far (the rest of the sentence hidden):

    manager:  g_t = normalised(W h_t),          h_t an LSTM's state over f_0 .. f_t
    worker:   w_t = psi sum_{i=1..c} g_{t-i},   psi linear without a bias, F to k
              l_t = O_t w_t,                    O_t (V, k) linear in o_t, an LSTM's state over words

O_t w_t is one linear map of the outer product of [o_t; 1] and w_t, which is the hidden state here:
the vocabulary head stays a matrix, and everything that is done with heads applies. Goals before the
first are fixed random directions. No gradient passes from D's features, nor from the worker to the
goals: manager and worker have losses of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from core.seeding import draw_seed
from core.types import Noise, Shape


class Leaking(Protocol):
    """A discriminator whose features may be looked at; a torch module."""

    width: int  # F, numbers of its features

    @property
    def embedding(self) -> Tensor:
        """Its first layer (V, D)."""
        ...

    def features(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """Embedded words (N, S, D) and what is visible of them (N, S) to (N, F)."""
        ...


@dataclass(frozen=True)
class Sizes:
    """Of the two LSTMs and what passes between them."""

    width: int  # E, of the worker's words
    hidden: int  # of either LSTM
    goal: int  # k
    horizon: int  # c, steps that a goal looks ahead


@dataclass
class LeakState:
    """A rollout in progress."""

    goals: list[Tensor]  # (N, F) each, the first c of them before the first step
    seen: list[Tensor] = field(default_factory=list)  # (N, D) each, words in D's embedding
    manager: tuple[Tensor, Tensor] | None = None
    worker: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True)
class Walk:
    """A whole sentence walked: what the losses of manager and worker are made of."""

    hidden: Tensor  # (N, S, k (H + 1)), gradient of the worker
    features: Tensor  # (N, S + 1, F), of 0 to S words, without gradient
    goals: Tensor  # (N, S, F), gradient of the manager


class LeakGenerator(nn.Module):
    """Manager and worker; see the module. `leak` is D, whose weights it saves but never moves."""

    first_goals: Tensor

    def __init__(self, sizes: Sizes, shape: Shape, leak: Leaking) -> None:
        super().__init__()
        H, F = sizes.hidden, leak.width
        self.length, self.sizes, self.leak = shape.length, sizes, leak
        self.embedding = nn.Embedding(shape.vocabulary, sizes.width)
        self.start = nn.Parameter(torch.randn(sizes.width))
        self.manager = nn.LSTM(F, H, batch_first=True)
        self.goal = nn.Linear(H, F)
        self.project = nn.Linear(F, sizes.goal, bias=False)  # psi
        self.worker = nn.LSTM(sizes.width, H, batch_first=True)
        self.head = nn.Linear(sizes.goal * (H + 1), shape.vocabulary, bias=False)
        self.register_buffer("first_goals", normalize(torch.randn(sizes.horizon, F), dim=-1))

    def draw_noise(self, count: int, rng: torch.Generator, scale: float = 1.0) -> Noise:
        """No noise but that of drawing words."""
        return Noise(None, None, None, draw_seed(rng), count, scale)

    def begin(self, noise: Noise, differentiable: bool) -> LeakState:
        """See `Generator.begin`."""
        return LeakState([goal.expand(noise.count, -1) for goal in self.first_goals])

    def fork(self, state: LeakState, rows: Tensor) -> LeakState:
        """See `Generator.fork`."""

        def picked(pair: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor] | None:
            return None if pair is None else (pair[0][:, rows], pair[1][:, rows])

        return LeakState(
            [goal[rows] for goal in state.goals],
            [words[rows] for words in state.seen],
            picked(state.manager),
            picked(state.worker),
        )

    def step(self, state: LeakState, last: Tensor | None) -> Tensor:
        """See `Generator.step`; `last` as `embed` gives it."""
        count = len(state.goals[0])
        word = self.start.expand(count, -1)
        if last is not None:
            word = last[:, : self.sizes.width]
            state.seen.append(last[:, self.sizes.width :])
        features = self._features(state.seen, count)
        managed, state.manager = self.manager(features[:, None], state.manager)
        window = torch.stack(state.goals[-self.sizes.horizon :]).sum(0)
        state.goals.append(normalize(self.goal(managed[:, 0]), dim=-1))
        worked, state.worker = self.worker(word[:, None], state.worker)
        return self._hidden(worked, window[:, None])[:, 0]

    def parallel(self, tokens: Tensor, noise: Noise) -> Tensor:
        """See `Generator.parallel`."""
        return self.walk(tokens).hidden

    def walk(self, tokens: Tensor) -> Walk:
        """Sentences (N, S), all steps at once."""
        N, S = tokens.shape
        with torch.no_grad():
            seen = self.leak.embedding[tokens].unbind(1)
        features = torch.stack([self._features(seen[:t], N) for t in range(S + 1)], dim=1)
        goals = normalize(self.goal(self.manager(features[:, :S])[0]), dim=-1)
        before = torch.cat([self.first_goals.expand(N, -1, -1), goals[:, :-1]], dim=1)
        windows = before.unfold(1, self.sizes.horizon, 1).sum(-1)  # (N, S, F)
        words = torch.cat([self.start.expand(N, 1, -1), self.embedding(tokens[:, :-1])], dim=1)
        return Walk(self._hidden(self.worker(words)[0], windows), features, goals)

    def logits(self, hidden: Tensor) -> Tensor:
        """See `Generator.logits`."""
        result: Tensor = self.head(hidden)
        return result

    def embed(self, tokens: Tensor) -> Tensor:
        """The worker's embedding and D's, side by side (..., E + D)."""
        return torch.cat([self.embedding(tokens), self.leak.embedding[tokens].detach()], dim=-1)

    def _features(self, seen: Sequence[Tensor], N: int) -> Tensor:
        """D's features (N, F) of the words so far, (N, D) each; the rest of the sentence hidden."""
        with torch.no_grad():
            whole = self.leak.embedding.new_zeros(N, self.length, self.leak.embedding.shape[1])
            if seen:
                whole[:, : len(seen)] = torch.stack(list(seen), dim=1)
            mask = torch.arange(self.length, device=whole.device) < len(seen)
            return self.leak.features(whole, mask.expand(N, -1))

    def _hidden(self, worked: Tensor, windows: Tensor) -> Tensor:
        """Outer product of [o; 1] (N, P, H + 1) and w (N, P, k), flat."""
        w = self.project(windows.detach())
        o = pad(worked, (0, 1), value=1.0)
        hidden: Tensor = (o.unsqueeze(-1) * w.unsqueeze(-2)).flatten(2)
        return hidden
