"""LeakGAN (Guo et al. 2018): D leaks its features to a manager, whose goals guide a worker.

With f_t the features F of D for the t tokens so far (the rest of the sentence masked):

    manager:  g_t = normalised(W h_t),         h_t an LSTM's state over f_0 .. f_t
    worker:   w_t = psi sum_{i=1..c} g_{t-i},  psi linear without a bias, F to k
              l_t = O_t w_t,                   O_t (V, k) linear in o_t, an LSTM's state over tokens

O_t w_t is one linear map of the outer product of [o_t; 1] and w_t, which is the hidden state here:
the vocabulary head stays a matrix, and everything that is done with heads applies. Goals before the
first are fixed random directions. No gradient passes from D's features, nor from the worker to the
goals: manager and worker have losses of their own. With Q_t the mean probability that D gives to K
completions of the first t tokens (Q_S the sentence's own), R_t the rank of Q_t within the batch
through a sigmoid (0 at the worst to 1 at the best):

    D:        non-saturating cross-entropy
    manager:  - mean_t R_t cos(f_{t+c} - f_t, g_t)
    worker:   - mean_t r_t log p(x_t),  r_t = 1/c sum_{i=1..c} cos(f_t - f_{t-i}, g_{t-i})
    pretraining, and every so often after it: likelihood for the worker, R = 1 on real text for the
    manager

where f_t in r_t already holds the word x_t that is rewarded. Deviations from the authors' code:
words are drawn at temperature 1 throughout; goals before the first are fixed; manager and worker
share an optimiser's learning rate and clip, not a gradient. That optimiser forgets its moments when
the game begins, where theirs has others for it; the updates of likelihood in between share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize, pad

from core.config import Search, StrategyConfig
from core.interfaces import StepContext
from core.moves import drawn, outlook, tell_apart
from core.nn.convolution import Counts
from core.nn.layers import Linear
from core.nn.likelihood import log_likelihood, negative_log_likelihood
from core.seeding import draw_seed
from core.types import PAD, Noise, Phase, Progress, Shape, visible
from variants.discriminator.cnn import CNNDiscriminator
from variants.sampling.categorical import Categorical

Updates = Annotated[int, Field(ge=0)]


# The generator.


class Leaking(Protocol):
    """A discriminator that shows its features; a torch module."""

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
    seen: list[Tensor] = field(default_factory=list)  # (N, D) each, tokens in D's embedding
    manager: tuple[Tensor, Tensor] | None = None
    worker: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True)
class ParallelPass:
    """All steps of N sentences: what the losses of manager and worker need."""

    hidden: Tensor  # (N, S, k (H + 1)), gradient of the worker
    features: Tensor  # (N, S + 1, F), of 0 to S words, without gradient
    goals: Tensor  # (N, S, F), gradient of the manager


class LeakGenerator(nn.Module):
    """Manager and worker; see the module. `leak` is D, whose weights it saves but never trains."""

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
        self.head: nn.Linear = Linear(sizes.goal * (H + 1), shape.vocabulary, bias=False)
        self.register_buffer("first_goals", normalize(torch.randn(sizes.horizon, F), dim=-1))

    def draw_noise(self, count: int, rng: torch.Generator, scale: float = 1.0) -> Noise:
        """No noise but that of drawing tokens."""
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
        return self.parallel_pass(tokens).hidden

    def parallel_pass(self, tokens: Tensor) -> ParallelPass:
        """Sentences (N, S), all steps at once."""
        N, S = tokens.shape
        with torch.no_grad():
            seen = self.leak.embedding[tokens].unbind(1)
        features = torch.stack([self._features(seen[:t], N) for t in range(S + 1)], dim=1)
        goals = normalize(self.goal(self.manager(features[:, :S])[0]), dim=-1)
        before = torch.cat([self.first_goals.expand(N, -1, -1), goals[:, :-1]], dim=1)
        windows = before.unfold(1, self.sizes.horizon, 1).sum(-1)  # (N, S, F)
        words = torch.cat([self.start.expand(N, 1, -1), self.embedding(tokens[:, :-1])], dim=1)
        return ParallelPass(self._hidden(self.worker(words)[0], windows), features, goals)

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


# The system.


class LeakGAN:
    """A manager sets goals in D's leaked features, a worker writes towards them."""

    class Config(StrategyConfig):
        """Sizes, the paper's for length 20; pretraining and interleaving in updates."""

        name: Literal["leakgan"] = "leakgan"
        width: Annotated[int, Field(ge=1, le=8192), Search(32, 256, log=True)] = 32
        hidden: Annotated[int, Field(ge=1, le=8192), Search(32, 256, log=True)] = 32
        goal: Annotated[int, Field(ge=1, le=1024)] = 16
        horizon: Annotated[int, Field(ge=1, le=64)] = 4
        completions: Annotated[int, Field(ge=1, le=1024), Search(1, 16)] = 4
        steepness: Annotated[float, Field(gt=0)] = 12.0  # of the sigmoid over ranks
        discriminator_width: Annotated[int, Field(ge=1, le=8192)] = 64
        kernels: Counts = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20)
        filters: Counts = (100, 200, 200, 200, 200, 100, 100, 100, 100, 100, 160, 160)
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.25  # D's
        generator_updates: Updates = 1000  # of likelihood at first, with one of D beside each
        n_d: Annotated[int, Field(ge=1, le=1000), Search(1, 10)] = 5
        interleave: Annotated[int, Field(ge=1)] = 15  # one update of likelihood after so many

    offers: frozenset[str] = frozenset()
    needs: ClassVar[dict[str, str]] = {}
    paper = "Guo et al. 2018"
    adversarial = False
    sampling = Categorical(Categorical.Config())

    def __init__(self, config: Config, shape: Shape) -> None:
        self.config = config
        self.discriminator = CNNDiscriminator(
            CNNDiscriminator.Config(
                width=config.discriminator_width,
                kernels=config.kernels,
                filters=config.filters,
                dropout=config.dropout,
            ),
            shape,
        )
        sizes = Sizes(config.width, config.hidden, config.goal, config.horizon)
        self.generator = LeakGenerator(sizes, shape, self.discriminator)
        self.others = {"discriminator": self.discriminator}

    @staticmethod
    def temperature(progress: float) -> float:
        """Words are drawn as they come."""
        return 1.0

    def phases(self, progress: Progress) -> Sequence[Phase]:
        """Likelihood at first and every `interleave` updates, n_D : 1 otherwise."""
        game = progress.update - self.config.generator_updates
        if game < 0:
            return Phase("generator", self.imitate), Phase("discriminator", self.judge)
        if game % self.config.interleave == self.config.interleave - 1:
            return (Phase("generator", self.imitate),)
        return (
            Phase("discriminator", self.judge, self.config.n_d),
            Phase("generator", self.pursue, reset_optimiser=game == 0),
        )

    def judge(self, context: StepContext) -> Tensor:
        """D's loss."""
        return tell_apart(self.discriminator, self.generator, context)

    def imitate(self, context: StepContext) -> Tensor:
        """Likelihood of real words for the worker, real transitions for the manager."""
        tokens = context.next_batch()
        found = self.generator.parallel_pass(tokens)
        shown = (tokens != PAD).float()
        nats = negative_log_likelihood(found.hidden, self.generator.head, tokens)
        transitions = self._transitions(found) * shown
        context.metrics["train/likelihood_loss"] = float(nats.detach().sum() / shown.sum())
        return (nats.sum() - transitions.sum()) / shown.sum()

    def pursue(self, context: StepContext) -> Tensor:
        """Rewarded transitions for the manager, the goals' reward of words for the worker."""
        draw = drawn(self.generator, context)
        found = self.generator.parallel_pass(draw.tokens)
        shown = visible(draw.tokens).float()
        with torch.no_grad():
            count = self.config.completions
            ahead = outlook(self.discriminator, self.generator, draw, count, context)
            values = self._ranked(ahead)
            intrinsic = self._intrinsic(found)
        manager = (values * self._transitions(found) * shown).sum() / shown.sum()
        log_p = log_likelihood(found.hidden, self.generator.head, draw.tokens)
        worker = (intrinsic * log_p * shown).sum() / shown.sum()
        context.metrics["train/intrinsic_reward"] = float((intrinsic * shown).sum() / shown.sum())
        return -(manager + worker)

    def _ranked(self, values: Tensor) -> Tensor:
        """Bootstrapped rescaled activation: sigmoid(steepness (1/2 - rank / N)), the best 1st."""
        rank = values.argsort(dim=0, descending=True).argsort(dim=0) + 1
        return (self.config.steepness * (0.5 - rank / len(values))).sigmoid()

    def _transitions(self, found: ParallelPass) -> Tensor:
        """cos(f_{t+c} - f_t, g_t) of each step (N, S); the last features stand for later ones."""
        S = found.goals.shape[1]
        ahead = torch.arange(S, device=found.goals.device).add(self.config.horizon).clamp(max=S)
        change = found.features[:, ahead] - found.features[:, :S]
        return cosine_similarity(change, found.goals, dim=-1)

    def _intrinsic(self, found: ParallelPass) -> Tensor:
        """R (N, S) of the word that each step wrote, over the goals there have been."""
        S = found.goals.shape[1]
        total, count = torch.zeros_like(found.goals[..., 0]), torch.zeros_like(found.goals[0, :, 0])
        for i in range(1, min(self.config.horizon, S) + 1):
            change = found.features[:, i:] - found.features[:, :-i]  # f_s - f_{s-i}, s = i .. S
            total[:, i - 1 :] += cosine_similarity(change, found.goals[:, : S + 1 - i], dim=-1)
            count[i - 1 :] += 1
        return total / count
